"""Extract the features of crops in memory: check and resize them, run the model, and normalise its features."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.errors import DataError, NonFiniteFeatures
from runtime.extraction.parts import MIN_NORM, run_halving
from runtime.images.decode import MIN_SIDE
from runtime.images.preprocess import Color, resize, to_input
from runtime.spec import InputSpec

# The most threads that resize the crops of one batch, and the fewest crops for which it is worth starting them.
MOST_THREADS = 4
FEWEST_CROPS = 4


def checked(crop: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Return the crop if it is (H, W, 3) uint8 with sides of at least `MIN_SIDE` pixels; else raise a DataError that names `name`."""
    if not isinstance(crop, np.ndarray) or crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
        kind = f"{crop.dtype} {crop.shape}" if isinstance(crop, np.ndarray) else type(crop).__name__
        raise DataError(f"{name}: {kind}; give a (height, width, 3) uint8 array")
    if min(crop.shape[:2]) < MIN_SIDE:
        raise DataError(
            f"{name}: {crop.shape[1]}x{crop.shape[0]} is smaller than {MIN_SIDE} pixels; leave it out"
        )
    return crop


def prepare(
    crops: Sequence[NDArray[np.uint8]], spec: InputSpec, *, color: Color, threads: int | None = None
) -> NDArray[Any]:
    """Return the input of a model for `crops`, (N, ...) as the spec describes it.

    Each crop is (H, W, 3) uint8 with its channels in the order `color`. Up to four threads resize the crops, and no more than
    `threads` (None: all cores). Their number does not change the result.
    """
    resized = np.empty((len(crops), spec.height, spec.width, 3), np.uint8)

    def fill(row: int) -> None:
        resized[row] = resize(crops[row], spec, color=color)

    count = min(threads or os.cpu_count() or 1, MOST_THREADS)
    if count == 1 or len(crops) < FEWEST_CROPS:
        for row in range(len(crops)):
            fill(row)
    else:
        # Pillow lets other threads run while it resizes
        with ThreadPoolExecutor(count, thread_name_prefix="resize") as pool:
            list(pool.map(fill, range(len(crops))))
    return to_input(resized, spec)


def run_images(
    artifact: Artifact,
    images: NDArray[Any],
    camera_ids: NDArray[np.int64] | None,
    *,
    batch: int,
    name: Callable[[int], str],
) -> tuple[NDArray[np.float32], int]:
    """Return the features of `images`, (N, D) float32, L2-normalised, and the batch size that fitted into the device's memory.

    `images` (N, ...) are the result of `prepare`. They run in batches of `batch`. An error names the image in row i by `name(i)`.
    Raises NonFiniteFeatures for a feature with NaN or infinity, DataError for a feature of length zero, and the errors of a session.
    """
    try:
        features, batch = run_halving(artifact.run, images, camera_ids, batch)
    except NonFiniteFeatures as error:
        raise NonFiniteFeatures(
            f"{name(error.rows[0])}: {error}; export the model again", error.rows
        ) from None
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    if len(zero := np.flatnonzero(norms < MIN_NORM)):
        raise DataError(
            f"{name(int(zero[0]))}: its feature has length zero and cannot be ranked; leave it out"
        )
    return np.asarray(features / norms, np.float32), batch
