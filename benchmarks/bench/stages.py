"""Where the time between a file and its ranking goes: decode, preprocess, infer, rank. One image at a time."""

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
# Market-1501's gallery
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
    """{images, gallery, ms: {decode, preprocess, infer, rank}}: the median of each stage over the items.

    `decode` reads the file too; `preprocess` resizes; `infer` is a batch of 1; `rank` finds the best 50 of `gallery` made-up
    features of the model's width. `ids` (N,) are the items' camera ids. The first image warms everything up.
    """
    random = np.random.default_rng(0)
    others = random.standard_normal((gallery, artifact.dim), dtype=np.float32)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    times: list[tuple[float, ...]] = []
    for row, item in [(0, items[0]), *enumerate(items)]:
        marks = [clock()]
        pixels = decode(read_bytes(item.path)).pixels
        marks.append(clock())
        images = to_input(resize(pixels, artifact.spec)[None], artifact.spec)
        marks.append(clock())
        features = artifact.run(images, None if ids is None else ids[row : row + 1])
        marks.append(clock())
        nearest_rows(features, others, top=TOP)
        marks.append(clock())
        times.append(tuple(1000 * (after - before) for before, after in zip(marks, marks[1:])))
    medians = np.median(np.array(times[1:]), axis=0)
    return {
        "images": len(items),
        "gallery": gallery,
        "ms": {name: float(value) for name, value in zip(STAGES, medians)},
    }
