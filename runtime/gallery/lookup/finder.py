"""`Finder`: the searches of an opened gallery, and what they keep in memory between two searches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.errors import StorageError
from runtime.gallery.lookup.building import build_index
from runtime.gallery.lookup.correction import CorrectionCache
from runtime.gallery.lookup.filters import Search
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
from runtime.gallery.lookup.snapshot import Snapshot, empty_snapshot, refreshed
from runtime.gallery.store.store import Store
from runtime.ranking.site import SiteMeans

# How often a search starts again because another process changed the gallery meanwhile.
ATTEMPTS = 5
Result = TypeVar("Result")


class Finder:
    """The searches of the gallery in `store`. Several threads can use it: they share what is in memory, one at a time changes it."""

    def __init__(self, store: Store) -> None:
        """Start with nothing in memory; the first search reads the rows."""
        self.store = store
        self._snapshot = empty_snapshot()
        self._codes = CodeCache()
        self._corrections = CorrectionCache()
        self._lock = threading.RLock()

    def find(self, query: NDArray[np.float32], search: Search, site: SiteMeans | None) -> list[GalleryHit]:
        """Return the hits of the queries (Q, D), which are calibrated already; `site` is applied to the rows."""
        return self.again(partial(self._attempt, query, search, site))

    def coverage(self) -> Coverage:
        """Return how many rows have codes."""
        with self._lock:
            snapshot = self._refresh()
            return self._codes.refresh(snapshot, self.store.segments(snapshot.state.generation))

    def build_index(self, least: float, site: SiteMeans | None) -> Recall:
        """Make the codes that are missing, and judge the search with them under the calibration `site`."""
        with self._lock:
            snapshot = self._refresh()
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
        self, query: NDArray[np.float32], search: Search, site: SiteMeans | None
    ) -> list[GalleryHit] | None:
        rank = rank_exactly
        with self._lock:
            snapshot = self._refresh()
            correction = self._corrections.of(snapshot, site)
            if search.index:
                self._codes.refresh(snapshot, self.store.segments(snapshot.state.generation))
                rank = self._codes.copy().rank
        wide = max(search.top, NEIGHBOURHOOD) if search.rerank else search.top
        ranked = rank(snapshot, query, Ranking(search.filters, wide, correction))
        if search.rerank and ranked.places.shape[1]:
            ranked = rerank_each(snapshot, query, ranked, top=search.top, correction=correction)
        return hits_of(self.store, snapshot, ranked)
