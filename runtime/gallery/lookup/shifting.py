"""Keep what a site calibration needs for each row of a gallery: its camera's mean, and the length that is left without it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.lookup.exact import Shift
from runtime.gallery.lookup.snapshot import Snapshot
from runtime.ranking.site import SiteMeans

Move = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]
"""A function of features (N, D) and their places in a snapshot (N,), which returns calibrated features."""


class ShiftCache:
    """The shift of the newest snapshot. Only rows that were added since the last one are read."""

    def __init__(self) -> None:
        """Start without a shift."""
        self._site: SiteMeans | None = None
        self._ids = np.empty(0, np.int64)
        self._inverse = np.empty(0, np.float32)

    def of(self, snapshot: Snapshot, site: SiteMeans | None, segment_rows: int) -> tuple[Shift | None, Move]:
        """Return the shift of all rows, and a function that calibrates features of rows; None and no change without a `site`."""
        if site is None:
            return None, lambda features, places: features
        if self._site is None or not same(self._site, site):
            self._site, self._ids = site, np.empty(0, np.int64)
            self._inverse = np.empty(0, np.float32)
        rows, table = site.rows(snapshot.cameras), site.table()
        inverse = np.empty(len(snapshot.ids), np.float32)
        at = np.searchsorted(self._ids, snapshot.ids)
        known = (at < len(self._ids)) & (
            self._ids[np.minimum(at, max(0, len(self._ids) - 1))] == snapshot.ids if len(self._ids) else False
        )
        inverse[known] = self._inverse[at[known]]
        new = np.flatnonzero(~known)
        slots = snapshot.slots[new]
        for number in np.unique(slots // segment_rows):
            first, last = np.searchsorted(slots, [number * segment_rows, (number + 1) * segment_rows])
            places = new[first:last]
            features = snapshot.maps[int(number)]
            for start in range(0, len(places), 4096):
                some = places[start : start + 4096]
                moved = features[snapshot.slots[some] - number * segment_rows] - table[rows[some]]
                lengths = np.linalg.norm(moved, axis=1)
                inverse[some] = 1 / np.maximum(lengths, np.finfo(np.float32).tiny)
        self._ids, self._inverse = snapshot.ids, inverse

        def move(features: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.float32]:
            return site.apply(features, snapshot.cameras[places])

        return Shift(table, rows, inverse), move


def same(one: SiteMeans, other: SiteMeans) -> bool:
    """Return whether two site calibrations are equal."""
    return one.cameras == other.cameras and np.array_equal(one.means, other.means)
