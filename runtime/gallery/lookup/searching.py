"""Search a gallery: rank the features of its current state, and look up the rows of the nearest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError
from runtime.gallery.lookup.exact import Block, SiteCorrection, nearest
from runtime.gallery.lookup.filters import Filters
from runtime.gallery.lookup.snapshot import Snapshot
from runtime.gallery.store.reading import stored_features
from runtime.gallery.store.rows import Row
from runtime.gallery.store.store import Store
from runtime.ranking.rerank import rerank

# How many of the nearest rows a re-ranking looks at.
NEIGHBOURHOOD = 200


@dataclass(frozen=True)
class Ranked:
    """The nearest rows of queries: `places` (Q, k) are numbers of rows in the snapshot, `distances` (Q, k) cosine distances."""

    places: NDArray[np.int64]
    distances: NDArray[np.float32]


@dataclass(frozen=True)
class GalleryHit:
    """One row of a gallery near a query.

    `query` is the row number of the query's feature. `rank` counts from 1, and `distance` is the cosine distance (0..2). `id` is the
    number of the row in the gallery, and `row` says what is known about it. With a calibrated threshold, `accepted` says whether the
    distance is within it, `probability` is that of the nearest row being the right person, where half of the searches are mated, and
    `fpir` is the rate of false matches if everything up to this distance is accepted, with the 95 % upper bound `fpir_bound`.
    """

    query: int
    rank: int
    distance: float
    id: int
    row: Row
    accepted: bool | None = None
    probability: float | None = None
    fpir: float | None = None
    fpir_bound: float | None = None


@dataclass(frozen=True, eq=False)
class Ranking:
    """How rows are ranked: those that the `filters` leave, the `top` nearest, with the site calibration `correction` or None."""

    filters: Filters
    top: int
    correction: SiteCorrection | None = None


def blocks_of(snapshot: Snapshot, selected: NDArray[np.bool_] | None) -> list[Block]:
    """Return a block for each segment; `selected` (N,) says which rows are ranked, None ranks all."""
    blocks: list[Block] = []
    for number in snapshot.segments():
        first, last = snapshot.span(number)
        places = first + (
            np.arange(last - first) if selected is None else np.flatnonzero(selected[first:last])
        )
        rows = snapshot.slots[places] - number * snapshot.segment_rows
        if len(rows):
            blocks.append(Block(snapshot.maps[number][: rows[-1] + 1], rows, places))
    return blocks


def rank_exactly(snapshot: Snapshot, query: NDArray[np.float32], how: Ranking) -> Ranked:
    """Rank the rows that the filters leave, by comparing each query (Q, D) with each of them."""
    blocks = blocks_of(snapshot, snapshot.selected(how.filters))
    return Ranked(*nearest(blocks, query, top=how.top, correction=how.correction))


def rerank_each(
    snapshot: Snapshot,
    query: NDArray[np.float32],
    ranked: Ranked,
    *,
    top: int,
    correction: SiteCorrection | None = None,
) -> Ranked:
    """Re-rank each query alone by the neighbours that it shares with its nearest rows (k-reciprocal encoding).

    The result has the re-ranked distances (0..1), which are no cosine distances. They depend on which rows were near enough to be
    looked at, so they are not those of `runtime.evaluate` with `rerank`.
    """
    count = min(top, ranked.places.shape[1])
    places = np.empty((len(query), count), np.int64)
    distances = np.empty((len(query), count), np.float32)
    for number, near in enumerate(ranked.places):
        features = snapshot.features(near)
        if correction is not None:
            means = correction.table[correction.rows[near]]
            features = (features - means) * correction.inverse[near, None]
        (far,) = rerank(query[number : number + 1], features)
        order = np.argsort(far[0], kind="stable")[:count]
        places[number], distances[number] = near[order], far[0][order]
    return Ranked(places, distances)


def hits_of(store: Store, snapshot: Snapshot, ranked: Ranked) -> list[GalleryHit] | None:
    """Look up the rows of a ranking, and check them against their checksums again. None if one was deleted in the meantime."""
    ids = np.unique(snapshot.ids[ranked.places]).tolist()
    with store.reading():
        state = store.state()
        if state.generation != snapshot.state.generation:
            return None
        try:
            rows, _ = stored_features(store, store.segments(state.generation), ids)
        except DataError:
            return None
    row_of = dict(zip(ids, rows))
    return [
        GalleryHit(query, rank + 1, float(distance), number, row_of[number])
        for query, (places, distances) in enumerate(zip(ranked.places, ranked.distances))
        for rank, (number, distance) in enumerate(zip(snapshot.ids[places].tolist(), distances))
    ]
