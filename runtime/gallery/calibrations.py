"""The calibrations of a gallery: versioned records, of which the newest of each kind is used. The features stay as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtime.errors import StorageError
from runtime.files.json_text import parse_json
from runtime.gallery.lookup.searching import GalleryHit
from runtime.gallery.storage import Storage
from runtime.ranking.site import SiteMeans
from runtime.ranking.thresholds import Threshold

SITE, THRESHOLD = "site", "threshold"
# The key of a record that switches a kind of calibration off.
OFF = "off"


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a search applies: the means of the cameras (`site`) and the `threshold`, each with the id of its record; None for none.

    A threshold holds only for the site calibration under which it was made. `stale` is the id of a newer one that does not fit.
    """

    site: SiteMeans | None = None
    site_id: int | None = None
    threshold: Threshold | None = None
    threshold_id: int | None = None
    stale: int | None = None


def write_calibration(
    storage: Storage, kind: str, record: dict[str, Any], crops: Sequence[tuple[Any, ...]] = ()
) -> int:
    """Store a record, which is used from now on, and return its id. Earlier records stay.

    `crops` are images of people that are kept with it, each as (person, camera, sha256, feature, image).
    """
    return storage.write_calibration(kind, json.dumps(record, sort_keys=True, allow_nan=False), crops)


def read_calibration(storage: Storage) -> Calibration:
    """Return the newest calibrations. Raises StorageError for a damaged record."""
    records = {record.kind: record for record in storage.calibrations(newest=True)}
    result = Calibration()
    # a threshold is compared with the site calibration, so that comes first
    for kind in (SITE, THRESHOLD):
        if kind not in records:
            continue
        number = records[kind].id
        try:
            content = parse_json(records[kind].record)
            if not records[kind].right:
                raise ValueError("does not fit its checksum")
            if content.get(OFF):
                continue
            if kind == SITE:
                result = replace(result, site=SiteMeans.from_json(content), site_id=number)
            elif content.get("site") != result.site_id:
                result = replace(result, stale=number)
            else:
                threshold = Threshold.from_json(content["threshold"])
                result = replace(result, threshold=threshold, threshold_id=number)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StorageError(
                f"{storage.place}: calibration {number} ({kind}) is damaged; switch it off with `switch_off` (--off), then "
                "calibrate again"
            ) from None
    return result


class CalibrationCache:
    """The calibrations of a storage, which are read again only when there is a newer record."""

    def __init__(self, storage: Storage) -> None:
        """Start with nothing in memory."""
        self.storage = storage
        self._last: tuple[int, Calibration] = (0, Calibration())

    def current(self) -> Calibration:
        """Return the calibrations that are applied now. Raises StorageError for a damaged record."""
        newest = self.storage.newest_calibration()
        last = self._last
        if newest != last[0]:
            self._last = last = (newest, read_calibration(self.storage))
        return last[1]


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
