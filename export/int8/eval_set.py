"""Read the held-out crops on which INT8 is measured, with their identities where these are known. Runs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.check import read_crops
from export.int8.calibration import spaced
from runtime.datasets import Item, count_warnings, guess_layout, read_dataset
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.errors import ConfigError, DataError
from runtime.images.sources import read_images
from runtime.spec import InputSpec

COUNT = 300
# The least number of held-out crops per person: a query and others to find.
PER_PERSON = 4


@dataclass(frozen=True)
class EvalSet:
    """Held-out test crops `images` (N, H, W, 3) uint8 RGB; the first `queries` of them are queries, the others the gallery.

    `spec` is the input of the exported file. `camera_rows` (N,) int64 are rows of the camera table; None if the file takes no camera
    ids. `pids` and `camids` (N,) are person ids and camera ids. If `queries` is 0, the identities are unknown or no query has a match,
    and mAP is not measured.
    """

    images: NDArray[np.uint8]
    camera_rows: NDArray[np.int64] | None
    spec: InputSpec
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    queries: int


def read_eval_set(
    root: Path | str, spec: InputSpec, *, count: int = COUNT, camera: str | int | None = None
) -> EvalSet:
    """Return about `count` test crops of `root`, a data set or a plain folder of images.

    From a data set, they are chosen so that queries have matches. From a plain folder, or if no query has a match, they are evenly
    spaced over all images, and the result has no queries. `spec` is the input of the exported file, and `camera` is as in
    `export.int8.calibration.calibration_set`. Raises DataError when the folder does not exist or fewer than three images can be
    read.
    """
    query, gallery, dataset = _items(str(root))
    query_items, gallery_items = matched_people(query, gallery, count)
    if not query_items:
        all_items = [*query, *gallery]
        gallery_items = [all_items[index] for index in spaced(len(all_items), count)]
    query_crops, readable_queries = read_crops(query_items, spec)
    gallery_crops, readable_gallery = read_crops(gallery_items, spec)
    crops, readable = query_crops + gallery_crops, readable_queries + readable_gallery
    if len(crops) < 3:
        raise DataError(
            f"{root}: only {len(crops)} check images can be read; give --check a folder with at least 3"
        )
    camids = np.array([item.camid for item in readable], np.int64)
    camera_rows, _ = camera_ids(camids, spec, policy=camera, dataset=dataset)
    pids = np.array([item.pid for item in readable], np.int64)
    return EvalSet(np.stack(crops), camera_rows, spec, pids, camids, len(query_crops))


def matched_people(
    query: Sequence[Item], gallery: Sequence[Item], count: int
) -> tuple[list[Item], list[Item]]:
    """Choose about `count` crops of people that more than one camera saw; return (query items, gallery items).

    `query` and `gallery` are those of a data set. The chosen people are evenly spaced over all such people, by person id. The
    number of crops per person is `count` divided by the number of such people, but at least PER_PERSON. A person with fewer crops
    contributes fewer, but always at least one query and one match. The crops of a person are divided between queries and gallery in
    about the same ratio as in the data set. Both lists are empty when no query has a match.
    """
    own: dict[int, list[Item]] = {}
    matches: dict[int, list[Item]] = {}
    for item in query:
        own.setdefault(item.pid, []).append(item)
    for item in gallery:
        # A gallery crop from the camera of the person's first query is not a match.
        if item.pid in own and (item.camid != own[item.pid][0].camid or item.camid < 0):
            matches.setdefault(item.pid, []).append(item)
    pids = sorted(matches)
    per_person = max(PER_PERSON, count // max(1, len(pids)))
    query_items: list[Item] = []
    gallery_items: list[Item] = []
    for index in spaced(len(pids), max(1, count // per_person)) if pids else []:
        first, second = own[pids[index]], matches[pids[index]]
        share = max(1, round(per_person * len(first) / (len(first) + len(second))))
        query_items += [first[place] for place in spaced(len(first), share)]
        gallery_items += [second[place] for place in spaced(len(second), max(1, per_person - share))]
    return query_items, gallery_items


def _items(root: str) -> tuple[list[Item], list[Item], str | None]:
    """Return (queries, gallery, name of the data set if it is certain), or ([], images, None) for a plain folder."""
    if not Path(root).is_dir():
        raise DataError(f"{root}: the folder of check images does not exist; give another one with --check")
    try:
        dataset = read_dataset(root, guess_layout(root))
    except (ConfigError, DataError):
        return [], read_images(root), None
    return list(dataset.query), list(dataset.gallery), dataset_name(dataset.layout, count_warnings(dataset))
