"""Judge an approximate search by the hits that matter: those of the same person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.lookup.searching import Ranked
from runtime.gallery.lookup.snapshot import Snapshot
from runtime.gallery.store.store import Store
from runtime.ranking.site import SiteMeans

# The share of same-person hits of the exact search that the index must find, and how many rows are searched to measure it.
RECALL, QUERIES, TOP = 0.99, 500, 10

Rank = Callable[[NDArray[np.float32]], Ranked]


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
    store: Store, snapshot: Snapshot, exact: Rank, indexed: Rank, site: SiteMeans | None, *, seed: int = 0
) -> Recall:
    """Search some of the stored features with both functions, and compare the hits. A row is no hit of its own search.

    `site` is the site calibration, which is applied to the features that become queries; None for none.
    """
    labels, judged = _labels(store, snapshot)
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    several = np.flatnonzero((labels >= 0) & (sizes[labels] > 1))
    if not len(several):
        judged, several = "all", np.arange(len(snapshot.ids))
    chosen = np.random.default_rng(seed).permutation(several)[:QUERIES]
    query = snapshot.features(chosen)
    if site is not None:
        query = site.apply(query, snapshot.cameras[chosen])
    hits = found = 0
    for place, right, other in zip(chosen, exact(query).places, indexed(query).places):
        near = [one for one in right.tolist() if one != place][:TOP]
        wanted = {one for one in near if judged == "all" or labels[one] == labels[place]}
        hits += len(wanted)
        found += len(wanted & set([one for one in other.tolist() if one != place][:TOP]))
    return Recall(found / hits if hits else 1.0, judged, hits, len(chosen))


def _labels(store: Store, snapshot: Snapshot) -> tuple[NDArray[np.int64], str]:
    """Return a number for each row of the snapshot, equal for rows of one person; -1 for an unknown one. Else, the same for tracks."""
    with store.reading() as db:
        for judged, column in (("person", "person"), ("track", "camera || '/' || track")):
            names: dict[str, int] = {}
            known = {
                row: names.setdefault(name, len(names))
                for row, name in db.execute(f"SELECT id, {column} FROM image WHERE {column} IS NOT NULL")
            }
            labels = np.array([known.get(row, -1) for row in snapshot.ids.tolist()], np.int64)
            if len(known) > len(names):
                return labels, judged
    return np.full(len(snapshot.ids), -1, np.int64), "all"
