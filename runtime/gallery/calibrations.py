"""The calibrations of a gallery: versioned records, of which the newest of each kind is used. The features stay as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtime.errors import StorageError
from runtime.files.json_text import parse_json
from runtime.gallery.store.reading import newest_calibrations
from runtime.gallery.store.rows import calibration_checksum
from runtime.gallery.store.schema import transaction
from runtime.gallery.store.store import Store
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
    store: Store, kind: str, record: dict[str, Any], crops: Sequence[tuple[Any, ...]] = ()
) -> int:
    """Store a record, which is used from now on, and return its id. Earlier records stay.

    `crops` are images of people that are kept with it, each as (person, camera, sha256, feature, image).
    """
    text = json.dumps(record, sort_keys=True, allow_nan=False)
    with store.writing() as db, transaction(db):
        cursor = db.execute(
            "INSERT INTO calibration (kind, record, crc) VALUES (?, ?, ?)",
            (kind, text, calibration_checksum(kind, text)),
        )
        number = int(cursor.lastrowid or 0)
        db.executemany(
            "INSERT INTO calibration_crop (calibration, person, camera, sha256, feature, image) VALUES (?, ?, ?, ?, ?, ?)",
            [(number, *crop) for crop in crops],
        )
    return number


def read_calibration(store: Store) -> Calibration:
    """Return the newest calibrations. Raises StorageError for a damaged record."""
    with store.reading() as db:
        records = {record.kind: record for record in newest_calibrations(db)}
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
                f"{store.folder}: calibration {number} ({kind}) is damaged; switch it off with `switch_off` (--off), then "
                "calibrate again"
            ) from None
    return result
