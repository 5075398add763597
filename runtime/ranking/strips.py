"""The rankings that a page shows: the nearest gallery images of a query, and whether each shows the query's person."""

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
    """One gallery image in a ranking.

    `index` is its row in the gallery features, `rank` counts from 1, and `distance` is its distance to the query. `right` says
    whether it shows the query's person, or is None where that is not known.
    """

    index: int
    rank: int
    distance: float
    right: bool | None


@dataclass(frozen=True)
class Ranking:
    """The nearest gallery images `hits` of one query, with ascending ranks; `query` is its row in the query features.

    In a scored ranking, `precision` is the average precision of the query (0..1), `matches` is the number of gallery images of the
    query's person (right images), and `first_right` is the rank of the nearest of them. These are None in a ranking of a search. If
    none of the nearest images is right, the nearest right image is added as the last hit, with its rank.
    """

    query: int
    hits: tuple[Hit, ...]
    precision: float | None = None
    matches: int | None = None
    first_right: int | None = None


class WorstRankings:
    """Collects the rankings of the `count` queries with the lowest average precision, with the `top` nearest images of each.

    Pass the method `see` as `watch` to `runtime.ranking.api.evaluate`. `offset` is added to every distance. Without re-ranking, the
    distances that `see` gets are negative cosines; `offset` 1 turns them into cosine distances (0..2). With re-ranking, use 0.
    """

    def __init__(self, count: int, top: int, *, offset: float = 0.0) -> None:
        self._count, self._top, self._offset = count, top, offset
        # A heap whose first entry is the best of the kept rankings. At equal precision, the query with the later first match is worse,
        # and if these are equal too, the earlier query is worse.
        self._heap: list[tuple[tuple[float, int, int], Ranking]] = []

    def see(self, scored: Scored) -> None:
        """Keep the ranking of a scored query if it is among the worst so far."""
        badness = (-scored.precision, int(scored.ranks[0]), -scored.query)
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, (badness, scored_ranking(scored, self._top, offset=self._offset)))
        elif badness > self._heap[0][0]:
            heapq.heapreplace(self._heap, (badness, scored_ranking(scored, self._top, offset=self._offset)))

    def rankings(self) -> list[Ranking]:
        """Return the kept rankings, the worst query first."""
        return [ranking for _, ranking in sorted(self._heap, key=lambda kept: kept[0], reverse=True)]


def scored_ranking(scored: Scored, top: int, *, offset: float = 0.0) -> Ranking:
    """Return the ranking of a scored query: its `top` nearest images and, if none is right, the nearest right image.

    `offset` is added to every distance.
    """
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
    """Return the ranking of a search from the gallery `indices` and their `distances`, nearest first.

    `query` is the row of the query. `pids` are (the query's pid, the pids of the gallery (G,)). `right` is None for a hit if the query
    has no known person (pid 0 or -1) or the gallery image has an unknown person (pid -1).
    """
    query_pid, gallery_pids = pids
    hits = tuple(
        Hit(int(index), rank, float(distance), _same_person(query_pid, int(gallery_pids[index])))
        for rank, (index, distance) in enumerate(zip(indices, distances), 1)
    )
    return Ranking(query, hits)


def _same_person(query: int, gallery: int) -> bool | None:
    return None if query <= 0 or gallery < 0 else query == gallery
