"""`Finder`: the searches of an opened gallery, and what they keep in memory between two searches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.errors import StorageError
from runtime.gallery.calibrations import Calibration, read_calibration
from runtime.gallery.lookup.building import build_index
from runtime.gallery.lookup.correction import CorrectionCache
from runtime.gallery.lookup.indexed import CodeCache, Coverage
from runtime.gallery.lookup.recall import Recall
from runtime.gallery.lookup.searching import (
    NEIGHBOURHOOD,
    GalleryHit,
    Ranking,
    hits_of,
    rank_exactly,
    rerank_each,
)
from runtime.gallery.lookup.snapshot import ALL, Filters, Snapshot, empty_snapshot, refreshed
from runtime.gallery.store.store import Store

# How often a search starts again because another process changed the gallery meanwhile.
ATTEMPTS = 5
Result = TypeVar("Result")


@dataclass(frozen=True)
class Search:
    """How to search: `filters` say which rows, `top` how many hits; `rerank` and `index` are as in `Gallery.search`."""

    filters: Filters = ALL
    top: int = 10
    rerank: bool = False
    index: bool = False


class Finder:
    """The searches of the gallery in `store`. Several threads can use it: they share what is in memory, one at a time changes it."""

    def __init__(self, store: Store) -> None:
        """Start with nothing in memory; the first search reads the rows."""
        self.store = store
        self._snapshot = empty_snapshot()
        self._codes = CodeCache()
        self._corrections = CorrectionCache()
        self._lock = threading.RLock()
        self._calibration: tuple[int, Calibration] = (0, Calibration())

    def calibration(self) -> Calibration:
        """Return the calibrations that are applied now."""
        with self.store.reading() as db:
            (newest,) = db.execute("SELECT coalesce(max(id), 0) FROM calibration").fetchone()
        if newest != self._calibration[0]:
            self._calibration = (newest, read_calibration(self.store))
        return self._calibration[1]

    def find(
        self, query: NDArray[np.float32], cameras: NDArray[np.int64], search: Search
    ) -> list[GalleryHit]:
        """Return the hits of the queries (Q, D), which `cameras` (Q,) took (-1: unknown), with the calibrations of the gallery."""
        return self.again(partial(self._attempt, query, cameras, search))

    def coverage(self) -> Coverage:
        """Return how many rows have codes."""
        with self._lock:
            snapshot = self._refresh()
            return self._codes.refresh(snapshot, self.store.segments(snapshot.state.generation))

    def build_index(self, least: float) -> Recall:
        """Make the codes that are missing, and judge the search with them."""
        with self._lock:
            snapshot, site = self._refresh(), self.calibration().site
            correction, codes = self._corrections.of(snapshot, site), self._codes.copy()
        # without success, the next search loads what the files hold
        kept = CodeCache()
        try:
            recall = build_index(self.store, snapshot, codes, least=least, site=site, correction=correction)
            kept = codes
        finally:
            with self._lock:
                self._codes = kept
        return recall

    def again(self, attempt: Callable[[], Result | None]) -> Result:
        """Return the result of `attempt`, which is called again if another process changed the gallery while it ran."""
        for left in reversed(range(ATTEMPTS)):
            with self.store.reading():
                before = self.store.state()
            try:
                result = attempt()
            except StorageError:
                # bytes that a delete has just overwritten look damaged
                with self.store.reading():
                    if not left or self.store.state() == before:
                        raise
                continue
            if result is not None:
                return result
        raise StorageError(
            f"{self.store.folder}: rows are deleted faster than they can be searched; try again"
        )

    def _refresh(self) -> Snapshot:
        self._snapshot = refreshed(self.store, self._snapshot)
        return self._snapshot

    def _attempt(
        self, query: NDArray[np.float32], cameras: NDArray[np.int64], search: Search
    ) -> list[GalleryHit] | None:
        rank = rank_exactly
        with self._lock:
            calibration, snapshot = self.calibration(), self._refresh()
            correction = self._corrections.of(snapshot, calibration.site)
            if search.index:
                self._codes.refresh(snapshot, self.store.segments(snapshot.state.generation))
                rank = self._codes.copy().rank
        if calibration.site is not None:
            query = calibration.site.apply(query, cameras)
        wide = max(search.top, NEIGHBOURHOOD) if search.rerank else search.top
        ranked = rank(snapshot, query, Ranking(search.filters, wide, correction))
        if search.rerank and ranked.places.shape[1]:
            ranked = rerank_each(snapshot, query, ranked, top=search.top, correction=correction)
        hits = hits_of(self.store, snapshot, ranked)
        return hits if hits is None or search.rerank else judged(hits, calibration)


def judged(hits: list[GalleryHit], calibration: Calibration) -> list[GalleryHit]:
    """Return the hits with the verdict of the threshold, if there is one."""
    threshold = calibration.threshold
    if threshold is None:
        return hits
    rates = [threshold.curve.at(hit.distance) for hit in hits]
    return [
        replace(
            hit,
            accepted=hit.distance <= threshold.distance,
            probability=threshold.probability(hit.distance),
            fpir=rate,
            fpir_bound=bound,
        )
        for hit, (rate, bound) in zip(hits, rates)
    ]
