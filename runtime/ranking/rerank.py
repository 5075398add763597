"""Re-rank by shared neighbours (Zhong et al., "Re-ranking person re-identification with k-reciprocal
encoding", CVPR 2017).

The distances equal those of the usual implementation, which stores dense (Q + G, Q + G) matrices. This one stores only non-zero
values, as lists of neighbours, sparse rows and an inverted index. The distances of a query depend on all other queries, so re-ranking
works on a whole set and not on single requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.errors import ConfigError
from runtime.ranking.metrics import Floats, checked_features

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix in CSR form: row i has values[starts[i]:starts[i + 1]] in the ascending columns[starts[i]:starts[i + 1]]."""

    starts: Ints
    columns: NDArray[np.int32]
    values: Floats

    def row(self, index: int) -> tuple[NDArray[np.int32], Floats]:
        """Return the columns and the values of the non-zero entries of one row."""
        part = slice(self.starts[index], self.starts[index + 1])
        return self.columns[part], self.values[part]

    def rows(self, indices: Ints) -> tuple[Ints, NDArray[np.int32], Floats]:
        """Return the non-zero entries of several rows, one row after the other, as three arrays of the same length.

        They are, for each entry, the position of its row in `indices`, its column, and its value.
        """
        lengths = self.starts[indices + 1] - self.starts[indices]
        position = np.repeat(np.arange(len(indices)), lengths)
        shift = self.starts[indices] - (np.cumsum(lengths) - lengths)
        at = np.arange(len(position)) + shift[position]
        return position, self.columns[at], self.values[at]


def rerank(
    query: ArrayLike,
    gallery: ArrayLike,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    block: int = 256,
) -> Iterator[Floats]:
    """Yield the re-ranked distances as blocks (b, G) float32, each for the next b <= `block` queries.

    `query` (Q, D) and `gallery` (G, D) are L2-normalised. A distance is weight * d + (1 - weight) * Jaccard distance. Here d (0..1) is
    the squared Euclidean distance, divided by the query's largest squared distance to any of the Q + G images. `k1` is the number of
    neighbours of the reciprocal sets, and `k2` that of the query expansion. Raises the errors of `metrics.checked_features` at once,
    before the first block, and ConfigError for k1 or k2 below 1 or a weight outside 0..1.
    """
    if k1 < 1 or k2 < 1 or not 0 <= weight <= 1:
        raise ConfigError(f"re-ranking needs k1, k2 >= 1 and weight in 0..1, not {k1}, {k2}, {weight}")
    queries, galleries = checked_features(query, gallery, block=block)
    return _blocks(queries, galleries, (k1, k2), weight, block)


def _blocks(
    queries: Floats, galleries: Floats, k: tuple[int, int], weight: float, block: int
) -> Iterator[Floats]:
    features = np.concatenate([queries, galleries])
    neighbours, farthest = nearest_neighbours(features, k[0] + 1, block=block)
    weights = _weights(features, neighbours, farthest, k[0], block)
    del features
    if k[1] > 1:
        weights = _averaged(weights, neighbours[:, : k[1]], block)
    inverted = _transposed(weights, first=len(queries))
    for start in range(0, len(queries), block):
        stop = min(start + block, len(queries))
        near = _squared(queries[start:stop] @ galleries.T) / farthest[start:stop, None]
        for row, number in zip(near, range(start, stop), strict=True):
            shared = _shared(*weights.row(number), inverted, len(galleries))
            row *= weight
            row += (1 - weight) * (1 - shared / (2 - shared))
        yield near


def nearest_neighbours(features: Floats, count: int, *, block: int = 256) -> tuple[NDArray[np.int32], Floats]:
    """Return two arrays: the row indices of each feature's `count` nearest features, and its largest squared distance to any feature.

    They are (N, count) int32 and (N,) float32. `features` (N, D) are L2-normalised. The nearest feature comes first, and each feature
    is one of its own neighbours. Equal distances are ordered by index. If N is smaller than `count`, the first array has N columns. If
    all features are equal, a tiny positive number stands for the largest distance 0, so that it can be a divisor. `block` rows are
    compared at a time.
    """
    size = len(features)
    count = min(count, size)
    neighbours = np.empty((size, count), np.int32)
    farthest = np.empty(size, np.float32)
    for start in range(0, size, block):
        similar = features[start : start + block] @ features.T
        farthest[start : start + block] = _squared(similar.min(axis=1))
        neighbours[start : start + block] = _top(similar, count)
    return neighbours, np.maximum(farthest, np.finfo(np.float32).tiny)


def _top(similar: Floats, count: int) -> NDArray[np.int32]:
    """Return the column indices (b, count) of the largest values of each row, largest first; equal values are ordered by index."""
    rows, size = similar.shape
    # Divide a row into groups, and take the maximum of each. The count-th largest maximum is a lower bound of the count-th largest
    # value. Few more than `count` values reach this bound, and only these are sorted.
    width = max(1, size // (12 * count))
    whole = size // width * width
    maxima = similar[:, :whole].reshape(rows, -1, width).max(axis=2)
    bound = np.partition(maxima, maxima.shape[1] - count, axis=1)[:, maxima.shape[1] - count]
    row, column = np.nonzero(similar >= bound[:, None])
    order = np.lexsort((column, -similar[row, column], row))
    starts = np.searchsorted(row, np.arange(rows))
    best: NDArray[np.int32] = column[order][starts[:, None] + np.arange(count)].astype(np.int32)
    return best


def _squared(similar: Floats) -> Floats:
    """Return the squared Euclidean distances of unit vectors from their cosines; rounding makes none of them negative."""
    distances: Floats = np.maximum(2 - 2 * similar, 0)
    return distances


def _weights(
    features: Floats, neighbours: NDArray[np.int32], farthest: Floats, k1: int, block: int
) -> SparseRows:
    """Return the sparse vectors of the paper (equations 3, 4 and 7), one row for each image.

    Row i has exp(-distance) at each member of the expanded k-reciprocal set of image i, divided by the sum of the row.
    """
    few = neighbours[:, : round(k1 / 2) + 1]
    mutual, mutual_few = _reciprocal(neighbours, block), _reciprocal(few, block)
    parts = []
    for start in range(0, len(features), block):
        near, is_mutual = neighbours[start : start + block], mutual[start : start + block]
        row, at = np.nonzero(is_mutual)
        candidate = near[row, at]
        # (pairs, few): the reciprocal neighbours of a candidate, and which of them are already in the row's set.
        theirs, is_theirs = few[candidate], mutual_few[candidate]
        known = np.where(is_mutual, near, -1)[row]
        inside = is_theirs & (theirs[:, :, None] == known[:, None, :]).any(axis=2)
        joins = 3 * inside.sum(axis=1) > 2 * is_theirs.sum(axis=1)
        new_row, new_at = np.nonzero(is_theirs & joins[:, None])
        rows = np.concatenate([row, row[new_row]])
        columns = np.concatenate([candidate, theirs[new_row, new_at]])
        keys = np.unique(rows * len(features) + columns)
        rows, columns = keys // len(features), keys % len(features)
        distances = _squared(_dots(features, rows + start, columns)) / farthest[rows + start]
        values = np.exp(-distances)
        sums = np.bincount(rows, values, minlength=len(near))
        parts.append((np.bincount(rows, minlength=len(near)), columns, values / sums[rows]))
    return _stacked(parts)


def _reciprocal(neighbours: NDArray[np.int32], block: int) -> NDArray[np.bool_]:
    """Return (N, k) bool: whether the neighbour j of row i has row i among its own neighbours, too."""
    parts = []
    for start in range(0, len(neighbours), block):
        near = neighbours[start : start + block]
        own = np.arange(start, start + len(near), dtype=np.int32)
        parts.append((neighbours[near] == own[:, None, None]).any(axis=2))
    return np.concatenate(parts)


def _dots(features: Floats, left: Ints, right: Ints, step: int = 4096) -> Floats:
    """Return the inner products (n,) of pairs of rows, computed `step` pairs at a time."""
    parts = [
        np.einsum("nd,nd->n", features[left[at : at + step]], features[right[at : at + step]])
        for at in range(0, len(left), step)
    ]
    return np.concatenate(parts)


def _averaged(weights: SparseRows, neighbours: NDArray[np.int32], block: int) -> SparseRows:
    """Replace each row by the mean of the rows of its neighbours (N, k2), which usually include the row itself."""
    size, k2 = neighbours.shape
    parts = []
    for start in range(0, size, block):
        near = neighbours[start : start + block]
        position, columns, values = weights.rows(near.ravel().astype(np.int64))
        keys, inverse = np.unique(position // k2 * size + columns, return_inverse=True)
        means = np.bincount(inverse, values, minlength=len(keys)) / k2
        parts.append((np.bincount(keys // size, minlength=len(near)), keys % size, means))
    return _stacked(parts)


def _stacked(parts: list[tuple[Ints, Ints, NDArray[np.float64]]]) -> SparseRows:
    lengths, columns, values = (np.concatenate(kind) for kind in zip(*parts, strict=True))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return SparseRows(starts, columns.astype(np.int32), values.astype(np.float32))


def _transposed(weights: SparseRows, *, first: int) -> SparseRows:
    """Return the transpose of the rows from `first` on: row c has the value of column c in each of them, counted from `first`."""
    size = len(weights.starts) - 1
    owners = np.repeat(np.arange(size - first), np.diff(weights.starts[first:]))
    columns, values = weights.columns[weights.starts[first] :], weights.values[weights.starts[first] :]
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(columns[order], np.arange(size + 1))
    return SparseRows(starts, owners[order].astype(np.int32), values[order])


def _shared(
    columns: NDArray[np.int32], values: Floats, inverted: SparseRows, gallery: int
) -> NDArray[np.float64]:
    """Return for each gallery image, (G,), the sum over columns of the minimum of the query's weight and the image's weight."""
    position, owners, theirs = inverted.rows(columns.astype(np.int64))
    minima = np.minimum(values[position], theirs)
    return np.bincount(owners, minima, minlength=gallery).astype(np.float64, copy=False)
