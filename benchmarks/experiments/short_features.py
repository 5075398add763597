"""Score features of fewer numbers: the projection, the rendered and the real people, and the size of a gallery.

The projection is computed here with numpy, independently of the export.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.experiments.zero_shot import interval, opened, per_person
from runtime.console import progress
from runtime.datasets import read_dataset
from runtime.extraction.camera import extract_with_policy
from runtime.extraction.extract import extract
from runtime.features import Features
from runtime.gallery.api import Gallery
from runtime.gallery.local import open_local
from runtime.gallery.space import Space
from runtime.gallery.store.rows import Row
from runtime.images.sources import Images
from runtime.ranking.metrics import evaluate
from runtime.ranking.protocol import published_rule, score
from runtime.ranking.site import SiteMeans, calibrate_site

PARTS = ("train", "query", "gallery")
# The rows of the gallery whose size is measured.
ROWS = 10_000
Arrays = NDArray[np.float32]


def model_features(model: str, root: str, *, batch: int = 32) -> dict[str, Features]:
    """Return the features of the training images, the queries and the gallery of the data set `root`, by part."""
    artifact, dataset = opened(model), read_dataset(root, None)

    def run(items: Sequence[Any], **how: Any) -> Features:
        return extract(artifact, items, batch=artifact.spec.batch or batch, **how)

    features = {}
    for part in PARTS:
        images = Images(getattr(dataset, part), dataset=dataset)
        with progress(f"{artifact.path.name}: {part}", len(images.items)) as advance:
            features[part] = extract_with_policy(run, artifact, images, policy=None, progress=advance)
    return features


def scores(
    rendered: Mapping[str, Features], real: Mapping[str, Features], *, dims: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Yield the scores of all numbers, and of `dims` numbers for each set of crops that the projection is fitted on.

    Each result is {fit, fitted_on, dim, rendered, real, calibrated, minus_all_95}. `fit` is "rendered", "real" or "both" training
    images, None for all numbers, and `fitted_on` their number. The others are scores {mAP, R1} (0..1) of the test people; `calibrated`
    are those of the real people after `runtime.ranking.site` subtracted the camera means of the real training images.
    `minus_all_95` has for `real` and `calibrated` the 95 % interval over people of the mean mAP minus that of all numbers.
    """
    crops = {"rendered": rendered["train"].features, "real": real["train"].features}
    crops["both"] = np.concatenate([crops["rendered"], crops["real"]])
    whole, people = _scored(rendered, real)
    yield {"fit": None, "fitted_on": 0, "dim": rendered["train"].features.shape[1]} | whole
    for fit, features in crops.items():
        _, _, directions = np.linalg.svd(features.astype(np.float64), full_matrices=False)
        for dim in dims:
            matrix = directions[:dim].T
            sides = [
                {
                    name: replace(part, features=projected(part.features, matrix))
                    for name, part in side.items()
                }
                for side in (rendered, real)
            ]
            result, own = _scored(*sides)
            differences = {
                key: interval({"mAP": [b - a for a, b in zip(people[key], own[key])]})["mAP"]
                for key in people
            }
            yield (
                {"fit": fit, "fitted_on": len(features), "dim": dim} | result | {"minus_all_95": differences}
            )


def projected(features: Arrays, matrix: NDArray[np.float64]) -> Arrays:
    """Return features (N, D) times `matrix` (D, dim), L2-normalised."""
    short = features.astype(np.float64) @ matrix
    return np.asarray(short / np.linalg.norm(short, axis=1, keepdims=True), np.float32)


def gallery_bytes(dim: int) -> int:
    """Return the bytes of the files of a gallery of features with `dim` numbers, per 1,000 rows, measured with ROWS rows.

    The rows have a camera, a time, a track and a path.
    """
    random = np.random.default_rng(0)
    features = random.normal(size=(ROWS, dim)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    rows = [
        Row(
            hashlib.sha256(f"image {number}".encode()).hexdigest(),
            camera=number % 4,
            time_us=1_000_000 * number,
            track=f"{number // 10}",
            path=f"/crops/{number:06d}_of_a_person.jpg",
        )
        for number in range(ROWS)
    ]
    with tempfile.TemporaryDirectory() as folder:
        with Gallery(open_local(Path(folder) / "g", Space("a" * 64, dim, "none"))) as gallery:
            gallery.add_rows(rows, features)
            content = gallery.info()
    return round(1000 * (content.feature_bytes + content.other_bytes) / ROWS)


def _scored(
    rendered: Mapping[str, Features], real: Mapping[str, Features]
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Return {rendered, real, calibrated} with the scores, and {real, calibrated} with the mAP of each real person."""
    query, gallery = rendered["query"], rendered["gallery"]
    result = {"rendered": _chosen(score(query, gallery, same_camera=published_rule(query.layout)).to_json())}
    means = calibrate_site(real["train"].features, real["train"].camids, real["train"].pids)
    people = {}
    for name, moved in (("real", None), ("calibrated", means)):
        both = _joined(real, moved)
        sides = [
            (both.features[rows], both.pids[rows], both.camids[rows])
            for rows in (both.camids == 0, both.camids == 1)
        ]
        result[name] = _chosen(evaluate(*sides[0], *sides[1]).to_json())
        people[name] = per_person(both, 0, 1)["mAP"]
    return result, people


def _joined(real: Mapping[str, Features], means: SiteMeans | None) -> Features:
    """Return the queries and the gallery as one, with the camera means subtracted."""
    query, gallery = real["query"], real["gallery"]
    features = np.concatenate([query.features, gallery.features])
    camids = np.concatenate([query.camids, gallery.camids])
    return replace(
        query,
        features=features if means is None else means.apply(features, camids),
        paths=query.paths + gallery.paths,
        pids=np.concatenate([query.pids, gallery.pids]),
        camids=camids,
        images=(),
    )


def _chosen(every: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(every[name]) for name in ("mAP", "R1")}
