"""Read stored rows and features, and check each against its checksum."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError, StorageError
from runtime.gallery.store.rows import COLUMNS, Row, calibration_checksum, checksum, from_record
from runtime.gallery.store.segments import Segments
from runtime.gallery.store.store import Store

# SQLite limits the number of values in a statement.
AT_ONCE = 500


def stored_features(
    store: Store, segments: Segments, ids: Sequence[int]
) -> tuple[list[Row], NDArray[np.float32]]:
    """Return the rows with these `ids`, in their order, and their features (N, D). Both come from the same state of the gallery.

    Raises DataError for an id that does not exist, and StorageError for a row that does not fit its checksum. Call it inside
    `Store.reading` or `Store.writing`.
    """
    features = np.empty((len(ids), store.space.dim), np.float32)
    rows: list[Row] = []
    maps: dict[int, NDArray[np.float32]] = {}
    places = {number: place for place, number in enumerate(ids)}
    found: dict[int, tuple[object, ...]] = {}
    for start in range(0, len(ids), AT_ONCE):
        some = list(ids[start : start + AT_ONCE])
        marks = ", ".join("?" * len(some))
        query = f"SELECT id, slot, crc, {COLUMNS} FROM image WHERE id IN ({marks})"
        found |= {record[0]: record for record in store.db.execute(query, some)}
    if missing := [number for number in places if number not in found]:
        raise DataError(
            f"{store.folder}: has no row {missing[0]}, it may have been deleted; list the rows again"
        )
    for place, number in enumerate(ids):
        _, slot, crc, *record = found[number]
        segment, row = divmod(int(str(slot)), segments.rows)
        features[place] = feature_at(store, segments, segment, row, maps)
        if checksum(tuple(record), zlib.crc32(features[place].astype("<f4"))) != crc:
            raise damaged(store, number)
        rows.append(from_record(tuple(record)))
    return rows, features


def known_images(store: Store, images: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, Row]]:
    """Return {(sha256, source): (id, row)} for those of the `images`, pairs of sha256 and source, that are stored."""
    known = {}
    query = f"SELECT id, {COLUMNS} FROM image WHERE sha256 = ? AND source = ?"
    with store.reading() as db:
        for sha256, source in images:
            record = db.execute(query, (bytes.fromhex(sha256), source)).fetchone()
            if record is not None:
                known[sha256, source] = (record[0], from_record(record[1:]))
    return known


@dataclass(frozen=True)
class CalibrationRecord:
    """A calibration of a `kind`: the JSON text `record`, and whether it is `right`, which means that it fits its checksum."""

    id: int
    kind: str
    record: str
    right: bool


def read_calibrations(db: sqlite3.Connection, *, newest: bool) -> list[CalibrationRecord]:
    """Return the calibrations in the order of writing; with `newest`, only the newest of each kind."""
    which = " WHERE id IN (SELECT max(id) FROM calibration GROUP BY kind)" if newest else ""
    query = f"SELECT id, kind, record, crc FROM calibration{which} ORDER BY id"
    return [
        CalibrationRecord(number, kind, record, calibration_checksum(kind, record) == crc)
        for number, kind, record, crc in db.execute(query)
    ]


def feature_at(
    store: Store, segments: Segments, segment: int, row: int, maps: dict[int, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return one feature (D,); `maps` keeps the memory maps between calls. Raises StorageError if its file is missing or short.

    Raises OSError for a file that cannot be read, which `Store.reading` and `Store.writing` report.
    """
    if segment not in maps or len(maps[segment]) <= row:
        try:
            size = segments.path(segment).stat().st_size
            maps[segment] = segments.mapped(segment, size // segments.stride)
        except (FileNotFoundError, ValueError):
            # an empty file cannot be mapped, and raises the same error as a missing one below
            maps[segment] = np.empty((0, segments.dim), np.float32)
    if len(maps[segment]) <= row:
        raise StorageError(
            f"{segments.path(segment)}: is missing or too short; restore a copy of the gallery, or add the images to a new one"
        )
    feature: NDArray[np.float32] = maps[segment][row]
    return feature


def damaged(store: Store, number: int) -> StorageError:
    """Return the error for a row that does not fit its checksum."""
    return StorageError(
        f"{store.folder}: row {number} is damaged; list all damaged rows with: python -m runtime gallery verify "
        f"--store {store.folder}; then delete them by `id` (--id), and add their images again"
    )
