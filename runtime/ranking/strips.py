"""Which gallery images stand nearest to a query, and which of them are right. Knows no image, no file and no HTML."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.ranking.metrics import Scored
from runtime.ranking.nearest import nearest_indices

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Hit:
    """One gallery image in a ranking: its row in the gallery, its rank from 1, its distance.

    `right` says whether it shows the query's person; None where nobody knows.
    """

    index: int
    rank: int
    distance: float
    right: bool | None


@dataclass(frozen=True)
class Ranking:
    """A query's row and its nearest gallery images, ranks ascending.

    Where the ranking was scored, `precision` is the query's average precision (0..1), `matches` the number of
    right images in the gallery and `first_right` the rank of the first of them. When none of the nearest
    images is right, that first right image is the last hit, with its own rank.
    """

    query: int
    hits: tuple[Hit, ...]
    precision: float | None = None
    matches: int | None = None
    first_right: int | None = None


class WorstRankings:
    """Keeps the rankings of the `count` queries with the lowest average precision, `top` images each.

    Give `see` to `runtime.ranking.metrics.evaluate_distances`. `offset` is added to every distance: 1 turns a negative
    cosine into a cosine distance (0..2).
    """

    def __init__(self, count: int, top: int, *, offset: float = 0.0) -> None:
        self._count, self._top, self._offset = count, top, offset
        # The least bad of the kept rankings is the first. Equal precisions: the later first match is worse, then the
        # earlier query.
        self._heap: list[tuple[tuple[float, int, int], Ranking]] = []

    def see(self, scored: Scored) -> None:
        """Take note of one scored query."""
        badness = (-scored.precision, int(scored.ranks[0]), -scored.query)
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, (badness, scored_ranking(scored, self._top, offset=self._offset)))
        elif badness > self._heap[0][0]:
            heapq.heapreplace(self._heap, (badness, scored_ranking(scored, self._top, offset=self._offset)))

    def rankings(self) -> list[Ranking]:
        """The worst query first."""
        return [ranking for _, ranking in sorted(self._heap, key=lambda kept: kept[0], reverse=True)]


def scored_ranking(scored: Scored, top: int, *, offset: float = 0.0) -> Ranking:
    """The `top` nearest images of a scored query in the order that scored it, and the first right one behind them."""
    distances = np.array(scored.distances, np.float64)
    distances[scored.removed] = np.inf
    kept = len(distances) - len(np.unique(scored.removed))
    indices = nearest_indices(distances, min(top, kept))
    right = np.isin(indices, scored.matches)
    hits = [
        Hit(int(index), rank, float(distances[index]) + offset, bool(match))
        for rank, (index, match) in enumerate(zip(indices, right), 1)
    ]
    first_right = int(scored.ranks[0])
    if first_right > len(hits):
        index = scored.matches[np.argmin(distances[scored.matches])]
        hits.append(Hit(int(index), first_right, float(distances[index]) + offset, True))
    return Ranking(scored.query, tuple(hits), scored.precision, len(scored.matches), first_right)


def searched_ranking(
    query: int, indices: Ids, distances: Sequence[float] | NDArray[np.float32], *, pids: tuple[int, Ids]
) -> Ranking:
    """The ranking of a search: gallery `indices` and their `distances`, nearest first.

    `pids` are the query's pid and those of the gallery (G,); a query that is not known to be a person (pid 0 or -1) and
    a gallery image without a pid (-1) leave open what is right.
    """
    own, gallery = pids
    hits = tuple(
        Hit(int(index), rank, float(distance), _same_person(own, int(gallery[index])))
        for rank, (index, distance) in enumerate(zip(indices, distances), 1)
    )
    return Ranking(query, hits)


def _same_person(query: int, gallery: int) -> bool | None:
    return None if query <= 0 or gallery < 0 else query == gallery
