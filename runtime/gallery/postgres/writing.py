"""Add rows to a gallery on a server, change their people, and store calibrations: all or nothing, in one transaction each."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.postgres.driver import feature_bytes
from runtime.gallery.postgres.rows import read_rows
from runtime.gallery.postgres.server import Server
from runtime.gallery.store.adding import Added, check_features
from runtime.gallery.store.reading import CalibrationRecord
from runtime.gallery.store.rows import COLUMNS, Row, calibration_checksum, checksum

# The kinds of the columns of a copy into reid_image.
KINDS = ["int8", "int8", "vector", "bytea", "text", "int8", "int8", "text", "text", "bytea"]


def add_rows(
    server: Server, rows: Sequence[Row], features: NDArray[np.float32], thumbnails: Sequence[bytes]
) -> Added:
    """Add one row for each of the `features` (N, D); a row whose image and source are stored already changes nothing."""
    check_features(server.space, str(server.address), rows, features)
    if not rows:
        return Added(0, 0)
    records = [row.record() for row in rows]
    with server.writing() as db:
        query = f"SELECT {COLUMNS} FROM reid_image WHERE sha256 = ANY(%s::bytea[])"
        found = db.execute(query, (list({record[0] for record in records}),), binary=True)
        known = {tuple(record[:2]): tuple(record) for record in found}
        fresh: list[int] = []
        present = differing = 0
        for number, record in enumerate(records):
            earlier = known.setdefault(record[:2], record)
            if earlier is record:
                fresh.append(number)
            else:
                present += 1
                differing += earlier[2:6] != record[2:6]
        if fresh:
            _insert(
                db,
                [records[n] for n in fresh],
                features[fresh],
                [*map(thumbnails.__getitem__, fresh)] if thumbnails else [],
            )
        return Added(len(fresh), present, differing)


def _insert(
    db: Any, records: Sequence[tuple[Any, ...]], features: NDArray[np.float32], thumbnails: Sequence[bytes]
) -> None:
    query = "UPDATE reid_store SET changes = changes + 1, next_id = next_id + %s RETURNING next_id - %s"
    (first,) = db.execute(query, (len(records), len(records))).fetchone()
    stored = np.ascontiguousarray(features, "<f4")
    with db.cursor().copy(
        f"COPY reid_image (id, crc, feature, {COLUMNS}) FROM STDIN (FORMAT BINARY)"
    ) as copy:
        copy.set_types(KINDS)
        for number, (record, value, feature) in enumerate(zip(records, feature_bytes(features), stored)):
            copy.write_row((first + number, checksum(record, zlib.crc32(feature)), value, *record))
    small = [(first + number, jpeg) for number, jpeg in enumerate(thumbnails) if jpeg]
    if small:
        with db.cursor().copy("COPY reid_thumbnail FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "bytea"])
            for one in small:
                copy.write_row(one)


def set_persons(server: Server, numbers: Sequence[int], person: str | None) -> list[Row]:
    """Change the person of the rows `numbers` (None: unknown), all or none, and return the rows."""
    with server.writing() as db:
        rows, features = read_rows(db, server, numbers)
        changed = [replace(row, person=person) for row in rows]
        checksums = [
            checksum(row.record(), zlib.crc32(feature.astype("<f4")))
            for row, feature in zip(changed, features)
        ]
        with db.cursor() as cursor:
            cursor.executemany(
                "UPDATE reid_image SET person = %s, crc = %s WHERE id = %s",
                [(person, crc, number) for crc, number in zip(checksums, numbers)],
            )
        db.execute("UPDATE reid_store SET changes = changes + 1")
    return changed


def newest_calibration(server: Server) -> int:
    """Return the id of the newest calibration, 0 without one."""
    with server.direct() as db:
        return int(db.execute("SELECT coalesce(max(id), 0) FROM reid_calibration").fetchone()[0])


def list_calibrations(db: Any, *, newest: bool) -> list[CalibrationRecord]:
    """Return the calibrations in the order of writing; with `newest`, only the newest of each kind."""
    which = " WHERE id IN (SELECT max(id) FROM reid_calibration GROUP BY kind)" if newest else ""
    query = f"SELECT id, kind, record, crc FROM reid_calibration{which} ORDER BY id"
    return [
        CalibrationRecord(number, kind, record, calibration_checksum(kind, record) == crc)
        for number, kind, record, crc in db.execute(query)
    ]


def write_calibration(
    server: Server, kind: str, record: str, crops: Sequence[tuple[Any, ...]], number: int | None
) -> int:
    """Store a calibration, which is used from now on, and return its id: `number`, or the next one."""
    with server.writing() as db:
        if number is None:
            number = int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM reid_calibration").fetchone()[0])
        values = (number, kind, record, calibration_checksum(kind, record))
        db.execute("INSERT INTO reid_calibration VALUES (%s, %s, %s, %s)", values)
        with db.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO reid_calibration_crop (calibration, person, camera, sha256, feature, image) "
                "VALUES (%s, %s, %s, %b, %b, %b)",
                [(number, *crop) for crop in crops],
            )
    return number


def list_crops(server: Server, calibration: int) -> list[tuple[Any, ...]]:
    """Return the crops of a calibration in the order of writing, each as (person, camera, sha256, feature, image)."""
    query = "SELECT person, camera, sha256, feature, image FROM reid_calibration_crop WHERE calibration = %s ORDER BY id"
    with server.direct() as db:
        return list(db.execute(query, (calibration,), binary=True).fetchall())
