"""Keep what a site calibration needs for each row of a gallery: its camera's mean, and the length that is left without it."""

from __future__ import annotations

import numpy as np

from runtime.gallery.lookup.exact import SiteCorrection
from runtime.gallery.lookup.snapshot import Snapshot
from runtime.ranking.site import SiteMeans

# Rows whose features are read at a time.
BLOCK = 4096


class CorrectionCache:
    """The correction of the newest snapshot. Only rows that were added since the last one are read."""

    def __init__(self) -> None:
        """Start without a correction."""
        self._last: tuple[Snapshot, SiteMeans, SiteCorrection] | None = None

    def of(self, snapshot: Snapshot, site: SiteMeans | None) -> SiteCorrection | None:
        """Return the correction of all rows of the snapshot; None without a `site`."""
        if site is None:
            return None
        last = self._last if self._last is not None and self._last[1] is site else None
        if last is not None and last[0] is snapshot:
            return last[2]
        rows, table = site.rows(snapshot.cameras), site.table()
        inverse = np.empty(len(snapshot.ids), np.float32)
        known = np.zeros(len(snapshot.ids), bool)
        if last is not None:
            # the ids of both are ascending, because a later row has a larger one
            known = np.isin(snapshot.ids, last[0].ids, assume_unique=True)
            inverse[known] = last[2].inverse[np.searchsorted(last[0].ids, snapshot.ids[known])]
        for number in snapshot.segments():
            first, end = snapshot.span(number)
            places = first + np.flatnonzero(~known[first:end])
            features = snapshot.maps[number]
            for start in range(0, len(places), BLOCK):
                some = places[start : start + BLOCK]
                centred = features[snapshot.slots[some] - number * snapshot.segment_rows] - table[rows[some]]
                lengths = np.linalg.norm(centred, axis=1)
                inverse[some] = 1 / np.maximum(lengths, np.finfo(np.float32).tiny)
        self._last = snapshot, site, SiteCorrection(table, rows, inverse)
        return self._last[2]
