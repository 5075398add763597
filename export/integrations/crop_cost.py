"""Measure how much mAP it costs that a tracker cuts and resizes crops in its own way. Runs the exported file with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.integrations import crops
from runtime.backends.onnxruntime import open_onnxruntime
from runtime.console import note, progress
from runtime.datasets import Dataset, Item, guess_layout, read_dataset
from runtime.errors import ConfigError, DataError
from runtime.features import Features
from runtime.images.decode import load_image
from runtime.images.preprocess import resize, to_input
from runtime.ranking.protocol import published_rule, score
from runtime.session import Session
from runtime.spec import InputSpec

Frame = NDArray[np.uint8]
CROPS: dict[str, crops.Crop] = {"ultralytics": crops.ultralytics_crop, "boxmot": crops.boxmot_crop}
# Images of a lower height are enlarged to it (pixels): the height of a person close to a 1080p camera. Without this, a data set whose
# images already have the size of the model's input would need no resizing, and a difference in resizing could not be measured.
HEIGHT = 384
# The width of the border (pixels) around an image, which the largest margin of a tracker's crops fits into.
BORDER = 24
BATCH = 16


@dataclass(frozen=True)
class Sides:
    """The features of the same images from our own crops and from those of a tracker."""

    ours: Features
    tracker: Features


def crop_cost(name: str, out: Path, spec: InputSpec, check: Path) -> dict[str, Any]:
    """Return the mAPs (0..1) of the exported file with our crops and with those of a tracker, or {reason}.

    The result is {dataset, height, ours, tracker, mixed}. `ours` is the mAP of the file `out` on the data set at `check` with our own
    crops, and `tracker` with the crops of the tracker `name`, a key of CROPS. `mixed` ranks our crops of the gallery for queries from
    the tracker's crops. `height` is HEIGHT: smaller images were enlarged, for all three. `spec` is the input of the file. If `check`
    is not a data set, or no query has a match, there is no mAP, and `reason` says why.
    """
    try:
        dataset = read_dataset(str(check), guess_layout(str(check)))
    except (ConfigError, DataError):
        return {"reason": f"{check} is not a data set with labels"}
    rule = published_rule(dataset.layout)

    def mean_precision(queries: Features, ranked: Features) -> float:
        return score(queries, ranked, same_camera=rule).mAP

    try:
        query, gallery = both_sides(name, out, spec, dataset)
        return {
            "dataset": dataset.layout,
            "height": HEIGHT,
            "ours": mean_precision(query.ours, gallery.ours),
            "tracker": mean_precision(query.tracker, gallery.tracker),
            "mixed": mean_precision(query.tracker, gallery.ours),
        }
    except DataError as error:
        # The file is written and has passed its gate, so it is not refused for this.
        return {"reason": str(error)}


def both_sides(name: str, out: Path, spec: InputSpec, dataset: Dataset) -> tuple[Sides, Sides]:
    """Return the features of the queries and of the gallery of `dataset`; the other arguments are those of `crop_cost`.

    Images that cannot be read are left out, and a warning says how many.
    """
    session = open_onnxruntime(out, spec)
    query, gallery = (
        _sides(name, session, spec, dataset, items) for items in (dataset.query, dataset.gallery)
    )
    return query, gallery


def cost_text(name: str, cost: dict[str, Any]) -> str:
    """Return one line about `cost`, the result of `crop_cost` for the tracker `name`."""
    if "reason" in cost:
        return f"the cost in mAP of its own crops was not measured: {cost['reason']}"
    ours, tracker, mixed = (100 * cost[key] for key in ("ours", "tracker", "mixed"))
    return (
        f"mAP {tracker:.2f} % on {cost['dataset']} with the crops of {name} instead of {ours:.2f} % with ours ({tracker - ours:+.2f} "
        f"points); {mixed:.2f} % for its queries in our gallery"
    )


def surrounded(image: Frame, *, least_height: int = HEIGHT) -> tuple[Frame, tuple[int, int, int, int]]:
    """Return (a frame that contains the image, its box in it); the image is enlarged to a height of at least `least_height` pixels.

    The crops of a data set have no surroundings. So the image gets a border that repeats its outermost pixels, and a margin around the
    box contains these.
    """
    height, width = image.shape[:2]
    if height < least_height:
        width = max(round(width * least_height / height), 1)
        height = least_height
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    border = max(BORDER, -(-max(height, width) // 50))
    frame = np.pad(image, ((border, border), (border, border), (0, 0)), mode="edge")
    return frame, (border, border, border + width, border + height)


def _sides(name: str, session: Session, spec: InputSpec, dataset: Dataset, items: Sequence[Item]) -> Sides:
    cut = CROPS[name]
    usable: list[Item] = []
    rows: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    reasons: list[str] = []
    with progress(f"crops of {name}", len(items)) as advance:
        for start in range(0, len(items), BATCH):
            pairs = []
            for item in items[start : start + BATCH]:
                try:
                    frame, box = surrounded(load_image(item.path))
                except DataError as error:
                    reasons.append(str(error))
                    continue
                left, top, right, bottom = box
                ours = to_input(resize(frame[top:bottom, left:right], spec)[None], spec)[0]
                theirs = cut(frame, box, (spec.height, spec.width))
                assert theirs is not None, "the box has pixels"
                pairs.append((ours, theirs))
                usable.append(item)
            if pairs:
                for features, images in zip(rows, zip(*pairs)):
                    features.extend(session(np.stack(images)))
            advance(len(items[start : start + BATCH]))
    if reasons:
        note(
            f"{len(reasons)} of {len(items)} images cannot be read and are left out; the first: {reasons[0]}"
        )
    if not usable:
        raise DataError(f"{dataset.root}: none of {len(items)} images can be read")
    paths = tuple(item.path for item in usable)
    pids, camids = (np.array([getattr(item, key) for item in usable], np.int64) for key in ("pid", "camid"))
    both = [
        Features(np.stack(values), paths, pids, camids, model="", layout=dataset.layout) for values in rows
    ]
    return Sides(*both)
