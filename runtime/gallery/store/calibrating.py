"""The records of calibrations, and the crops that are kept with them. Knows nothing of what a record means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.gallery.store.reading import CalibrationRecord, read_calibrations
from runtime.gallery.store.rows import calibration_checksum
from runtime.gallery.store.schema import transaction
from runtime.gallery.store.store import Store


def newest_id(store: Store) -> int:
    """Return the id of the newest calibration, 0 without one."""
    with store.reading() as db:
        (number,) = db.execute("SELECT coalesce(max(id), 0) FROM calibration").fetchone()
    return int(number)


def list_calibrations(store: Store, *, newest: bool) -> list[CalibrationRecord]:
    """Return the calibrations in the order of writing; with `newest`, only the newest of each kind."""
    with store.reading() as db:
        return read_calibrations(db, newest=newest)


def write(
    store: Store, kind: str, record: str, crops: Sequence[tuple[Any, ...]], number: int | None = None
) -> int:
    """Store a calibration, which is used from now on, and return its id: `number`, or the next free one."""
    with store.writing() as db, transaction(db):
        cursor = db.execute(
            "INSERT INTO calibration (id, kind, record, crc) VALUES (?, ?, ?, ?)",
            (number, kind, record, calibration_checksum(kind, record)),
        )
        written = int(cursor.lastrowid or 0)
        db.executemany(
            "INSERT INTO calibration_crop (calibration, person, camera, sha256, feature, image) VALUES (?, ?, ?, ?, ?, ?)",
            [(written, *crop) for crop in crops],
        )
    return written


def list_crops(store: Store, calibration: int) -> list[tuple[Any, ...]]:
    """Return the crops of a calibration in the order of writing, each as (person, camera, sha256, feature, image)."""
    query = "SELECT person, camera, sha256, feature, image FROM calibration_crop WHERE calibration = ? ORDER BY id"
    with store.reading() as db:
        return db.execute(query, (calibration,)).fetchall()
