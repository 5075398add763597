"""Time the stages between an image file and its ranking, one image at a time: decode, preprocess, infer, rank."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.datasets import Item
from runtime.images.decode import decode, read_bytes
from runtime.images.preprocess import resize, to_input
from runtime.ranking.nearest import nearest_rows

STAGES = ("decode", "preprocess", "infer", "rank")
# The number of images in the gallery of Market-1501.
GALLERY = 19_732
TOP = 50


def stages(
    artifact: Artifact,
    items: Sequence[Item],
    ids: NDArray[np.int64] | None,
    *,
    gallery: int = GALLERY,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Return {images, gallery, ms: {decode, preprocess, infer, rank}} with the median time of each stage over the items, in ms.

    `decode` includes reading the file, `preprocess` includes resizing, and `infer` runs a batch of 1. `rank` finds the 50 nearest of
    `gallery` random features, which have the width of the model's features. `ids` (N,) are the camera ids of the N items, or None
    for a model that takes no camera ids. `clock` returns the time in seconds. Before the timed items, the first item runs once as a
    warm-up that is not counted.
    """
    random = np.random.default_rng(0)
    gallery_features = random.standard_normal((gallery, artifact.dim), dtype=np.float32)
    gallery_features /= np.linalg.norm(gallery_features, axis=1, keepdims=True)
    times: list[tuple[float, ...]] = []
    for row, item in [(0, items[0]), *enumerate(items)]:
        marks = [clock()]
        pixels = decode(read_bytes(item.path)).pixels
        marks.append(clock())
        images = to_input(resize(pixels, artifact.spec)[None], artifact.spec)
        marks.append(clock())
        features = artifact.run(images, None if ids is None else ids[row : row + 1])
        marks.append(clock())
        nearest_rows(features, gallery_features, top=TOP)
        marks.append(clock())
        times.append(tuple(1000 * (after - before) for before, after in zip(marks, marks[1:])))
    medians = np.median(np.array(times[1:]), axis=0)
    return {
        "images": len(items),
        "gallery": gallery,
        "ms": {name: float(value) for name, value in zip(STAGES, medians)},
    }
