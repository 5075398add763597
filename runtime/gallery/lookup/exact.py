"""Exact search: the nearest rows among blocks of features. Works on arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.ranking.nearest import nearest_indices

# A block is scored by one matrix product, and two threads score blocks at the same time. A search reads every feature once, so the
# memory's speed decides; more threads do not help.
BLOCK_BYTES, THREADS = 16 << 20, 2
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
    with ThreadPoolExecutor(THREADS, thread_name_prefix="search") as pool:
        for start in range(0, len(query), QUERIES):
            some = query[start : start + QUERIES]
            parts = list(pool.map(lambda block, q=some: _best(block, q, top, correction), blocks))
            for number in range(len(some)):
                where = np.concatenate([part[number][0] for part in parts])
                far = np.concatenate([part[number][1] for part in parts])
                order = np.lexsort((where, far))[:count]
                places[start + number] = where[order]
                # rounding may put a distance just under 0
                distances[start + number] = np.maximum(far[order], 0)
    return places, distances


def split(
    features: NDArray[np.float32], rows: NDArray[np.int64], places: NDArray[np.int64]
) -> Iterator[Block]:
    """Yield the blocks of a segment: `features` (n, D), its ranked `rows` (m,) in ascending order, and their `places` (m,)."""
    size = max(1, BLOCK_BYTES // (features.shape[1] * features.itemsize))
    for start in range(0, len(features), size):
        first, last = np.searchsorted(rows, [start, start + size])
        if first < last:
            yield Block(features[start : start + size], rows[first:last] - start, places[first:last])


def _best(
    block: Block, query: NDArray[np.float32], top: int, correction: SiteCorrection | None
) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Return for each query (places, distances) of its nearest rows in the block, at most `top`, in the order of the distances."""
    if len(block.rows) == len(block.features):
        scores = block.features @ query.T
    elif len(block.rows) < FEW * len(block.features):
        scores = block.features[block.rows] @ query.T
    else:
        scores = (block.features @ query.T)[block.rows]
    if correction is not None:
        scores = correction.similarities(scores, query, block.places)
    best = []
    for far in np.float32(1) - scores.T:
        at = nearest_indices(far, min(top, len(far)))
        best.append((block.places[at], far[at]))
    return best
