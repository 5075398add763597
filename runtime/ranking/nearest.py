"""Find the nearest gallery features of each query. Works on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, DataError


def nearest_rows(
    query: NDArray[np.float32], gallery: NDArray[np.float32], *, top: int, block: int = 64
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the `top` nearest gallery features of each query, nearest first, as indices (Q, top) and cosine distances (Q, top).

    `query` (Q, D) and `gallery` (G, D) are L2-normalised. A cosine distance is 1 - q.g (0..2). The search is exact, and equal
    distances keep the gallery's order. If G is smaller than `top`, all G features are returned. `block` queries are compared at a
    time, so that memory holds block x G distances. Raises DataError for an empty gallery, and ArtifactError for features of different
    widths.
    """
    if not len(gallery):
        raise DataError("the gallery is empty; extract some images into it first")
    if query.shape[1] != gallery.shape[1]:
        raise ArtifactError(
            f"query features have {query.shape[1]} columns, gallery features {gallery.shape[1]}; "
            "extract both with the same model"
        )
    top = min(top, len(gallery))
    indices = np.empty((len(query), top), np.int64)
    distances = np.empty((len(query), top), np.float32)
    for start in range(0, len(query), block):
        rows = np.float32(1) - query[start : start + block] @ gallery.T
        for row, distance in enumerate(rows, start):
            indices[row] = nearest_indices(distance, top)
            # Rounding may put a distance just under 0.
            distances[row] = np.maximum(distance[indices[row]], 0)
    return indices, distances


def nearest_indices(distance: NDArray[np.floating[Any]], top: int) -> NDArray[np.int64]:
    """Return the indices of the `top` (1..G) smallest distances of (G,), nearest first; equal distances keep their order."""
    # The candidates include all that are tied with the last place, so that the stable sort orders them.
    limit = np.partition(distance, top - 1)[top - 1]
    candidates = np.flatnonzero(distance <= limit)
    return candidates[np.argsort(distance[candidates], kind="stable")][:top]
