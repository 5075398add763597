"""Exact search: the nearest rows among blocks of features. Works on arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.ranking.nearest import nearest_indices

# A few queries are scored without BLAS: two threads score blocks of this size at the same time. A search reads every feature once, so
# the memory's speed decides, and more threads do not help. The threads of BLAS take much longer here if the cores are busy, because
# they wait for each other without sleeping.
BLOCK_BYTES, THREADS = 16 << 20, 2
# More queries than this are scored by a matrix product, which has threads of its own.
ONE_BY_ONE = 2
# Queries that are scored in one pass over the features.
QUERIES = 64
# Rows are copied out of a block if fewer than this share of them are ranked; else all are scored.
FEW = 0.3


@dataclass(frozen=True, eq=False)
class Block:
    """A part of the gallery: `features` (n, D), of which the `rows` (m,) are ranked; `places` (m,) are their numbers in the result."""

    features: NDArray[np.float32]
    rows: NDArray[np.int64]
    places: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SiteCorrection:
    """A site calibration, applied to the rows of a gallery without changing their features.

    `table` (C, D) are the mean features of cameras. Row i gets the mean `rows`[i], and `inverse`[i] is 1 / the length that is left.
    """

    table: NDArray[np.float32]
    rows: NDArray[np.int64]
    inverse: NDArray[np.float32]

    def similarities(
        self, products: NDArray[np.float32], query: NDArray[np.float32], places: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the cosines (m, Q) of calibrated rows and queries, from the `products` (m, Q) of rows as stored with the queries.

        `query` (Q, D) are calibrated already, and `places` (m,) are the numbers of the rows.
        """
        offsets = (self.table @ query.T)[self.rows[places]]
        return np.asarray((products - offsets) * self.inverse[places, None], np.float32)


def nearest(
    blocks: Sequence[Block], query: NDArray[np.float32], *, top: int, correction: SiteCorrection | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the `top` nearest rows of each query, nearest first: their places (Q, k) and cosine distances (Q, k), 0..2.

    `query` (Q, D) and the features are L2-normalised. k is `top`, or the number of all ranked rows if there are fewer. Rows at equal
    distances are ordered by their places. With a `correction`, the features are calibrated first; the queries must be so already.
    """
    count = min(top, sum(len(block.rows) for block in blocks))
    places = np.empty((len(query), count), np.int64)
    distances = np.empty((len(query), count), np.float32)
    if not count:
        return places, distances
    few = len(query) <= ONE_BY_ONE
    pieces = [piece for block in blocks for piece in split(block)] if few else blocks
    with ThreadPoolExecutor(THREADS if few else 1, thread_name_prefix="search") as pool:
        for start in range(0, len(query), QUERIES):
            some = query[start : start + QUERIES]
            parts = list(pool.map(lambda block, q=some: _best(block, q, top, correction), pieces))
            for number in range(len(some)):
                where = np.concatenate([part[number][0] for part in parts])
                far = np.concatenate([part[number][1] for part in parts])
                order = np.lexsort((where, far))[:count]
                places[start + number] = where[order]
                # rounding may put a distance just under 0
                distances[start + number] = np.maximum(far[order], 0)
    return places, distances


def split(block: Block) -> Iterator[Block]:
    """Yield the parts of a block, each with at most BLOCK_BYTES of features; `rows` are in ascending order."""
    size = max(1, BLOCK_BYTES // (block.features.shape[1] * block.features.itemsize))
    for start in range(0, len(block.features), size):
        first, last = np.searchsorted(block.rows, [start, start + size])
        if first < last:
            features = block.features[start : start + size]
            yield Block(features, block.rows[first:last] - start, block.places[first:last])


def products(features: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inner products (n, Q) of features (n, D) and queries (Q, D)."""
    if len(query) > ONE_BY_ONE:
        return np.asarray(features @ query.T)
    return np.stack([np.einsum("nd,d->n", features, one) for one in query], axis=1)


def _best(
    block: Block, query: NDArray[np.float32], top: int, correction: SiteCorrection | None
) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Return for each query (places, distances) of its nearest rows in the block, at most `top`, in the order of the distances."""
    if len(block.rows) == len(block.features):
        scores = products(block.features, query)
    elif len(block.rows) < FEW * len(block.features):
        scores = products(block.features[block.rows], query)
    else:
        scores = products(block.features, query)[block.rows]
    if correction is not None:
        scores = correction.similarities(scores, query, block.places)
    best = []
    for far in np.float32(1) - scores.T:
        at = nearest_indices(far, min(top, len(far)))
        best.append((block.places[at], far[at]))
    return best
