"""The calibrations of a gallery: versioned records, of which the newest of each kind is used. The features stay as they are."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from runtime.errors import StorageError
from runtime.files.json_text import parse_json
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


def write_calibration(store: Store, kind: str, record: dict[str, Any]) -> int:
    """Store a record, which is used from now on, and return its id. Earlier records stay."""
    with store.writing() as db, transaction(db):
        cursor = db.execute(
            "INSERT INTO calibration (kind, record) VALUES (?, ?)",
            (kind, json.dumps(record, sort_keys=True, allow_nan=False)),
        )
        return int(cursor.lastrowid or 0)


def read_calibration(store: Store) -> Calibration:
    """Return the newest calibrations. Raises StorageError for a damaged record."""
    with store.reading() as db:
        newest = {
            kind: (number, text)
            for number, kind, text in db.execute("SELECT id, kind, record FROM calibration ORDER BY id")
        }
    try:
        records = {kind: (number, parse_json(text)) for kind, (number, text) in newest.items()}
        result = Calibration()
        if SITE in records and not records[SITE][1].get(OFF):
            number, record = records[SITE]
            result = replace(result, site=SiteMeans.from_json(record), site_id=number)
        if THRESHOLD in records and not records[THRESHOLD][1].get(OFF):
            number, record = records[THRESHOLD]
            if record.get("site") != result.site_id:
                return replace(result, stale=number)
            return replace(result, threshold=Threshold.from_json(record["threshold"]), threshold_id=number)
        return result
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StorageError(
            f"{store.folder}: a calibration is damaged; calibrate again, which replaces it"
        ) from None
