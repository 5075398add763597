"""Judge an approximate search by the hits that matter: those of the same person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.ranking.site import SiteMeans

# The share of same-person hits of the exact search that the index must find, and how many rows are searched to measure it.
RECALL, QUERIES, TOP = 0.99, 500, 10

# (id, camera, person, track) of a row
Labels = tuple[int, int | None, str | None, str | None]
# Returns for each query (Q, D) the ids of the nearest rows, nearest first.
Rank = Callable[[NDArray[np.float32]], list[list[int]]]


@dataclass(frozen=True)
class Recall:
    """How much of the exact search an index finds.

    `recall` is the share (0..1) of the hits in the exact top 10 that the index has in its top 10 as well. `judged` says which hits
    count: those of the same "person", those of the same "track" where no person is known, or "all" where neither is. `hits` is their
    number, and `queries` how many rows were searched.
    """

    recall: float
    judged: str
    hits: int
    queries: int


def measure_recall(
    labels: Sequence[Labels],
    read: Callable[[list[int]], NDArray[np.float32]],
    exact: Rank,
    indexed: Rank,
    site: SiteMeans | None,
    *,
    seed: int = 0,
) -> Recall:
    """Search some of the stored features with both functions, and compare the hits. A row is no hit of its own search.

    `labels` are those of all rows, and `read` returns the features (n, D) of n rows by their ids. `site` is the site calibration,
    which is applied to the features that become queries; None for none.
    """
    group_of, judged = _groups(labels)
    sizes = Counter(group_of.values())
    chosen = [one for one in labels if sizes[group_of.get(one[0], -1)] > 1]
    if not chosen:
        judged, chosen = "all", list(labels)
    some = [chosen[at] for at in np.random.default_rng(seed).permutation(len(chosen))[:QUERIES].tolist()]
    query = read([number for number, *_ in some])
    if site is not None:
        query = site.apply(query, np.array([-1 if one[1] is None else one[1] for one in some], np.int64))
    hits = found = 0
    for (number, *_), right, other in zip(some, exact(query), indexed(query)):
        near = [one for one in right if one != number][:TOP]
        wanted = {one for one in near if judged == "all" or group_of.get(one) == group_of[number]}
        hits += len(wanted)
        found += len(wanted & set([one for one in other if one != number][:TOP]))
    return Recall(found / hits if hits else 1.0, judged, hits, len(some))


def _groups(labels: Sequence[Labels]) -> tuple[dict[int, int], str]:
    """Return {id: number of the person} for the rows whose person is known. Without two rows of one person, the same for tracks."""
    for judged, name_of in (("person", lambda one: one[2]), ("track", _track)):
        names: dict[object, int] = {}
        group_of = {
            one[0]: names.setdefault(name, len(names)) for one in labels if (name := name_of(one)) is not None
        }
        if len(group_of) > len(names):
            return group_of, judged
    return {}, "all"


def _track(labels: Labels) -> tuple[int, str] | None:
    return None if labels[1] is None or labels[3] is None else (labels[1], labels[3])
