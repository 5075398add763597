"""Read rows from a server, and check each against its checksum."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError, StorageError
from runtime.gallery.lookup.filters import ALL, Filters
from runtime.gallery.lookup.recall import Labels
from runtime.gallery.postgres.driver import feature_of
from runtime.gallery.postgres.server import Server
from runtime.gallery.store.rows import COLUMNS, Row, checksum, from_record

# Rows, and images to look up, that are asked for at a time.
BLOCK = 1024


def condition(filters: Filters) -> tuple[str, list[Any]]:
    """Return the SQL condition of the filters, with its WHERE, and its values; ("", []) for no filter."""
    parts: dict[str, Any] = {}
    if filters.cameras is not None:
        # no row has a camera beyond 64 bits
        parts["camera = ANY(%s::bigint[])"] = [camera for camera in filters.cameras if 0 <= camera < 2**63]
    if filters.since_us is not None:
        parts["time_us >= %s"] = filters.since_us
    if filters.until_us is not None:
        parts["time_us < %s"] = filters.until_us
    return f" WHERE {' AND '.join(parts)}" if parts else "", list(parts.values())


def read_rows(db: Any, server: Server, ids: Sequence[int]) -> tuple[list[Row], NDArray[np.float32]]:
    """Return the rows with these `ids`, in their order, and their features (N, D).

    Raises DataError for an id that does not exist, and StorageError for a row that does not fit its checksum.
    """
    features = np.empty((len(ids), server.space.dim), np.float32)
    rows: list[Row] = []
    query = f"SELECT id, crc, feature, {COLUMNS} FROM reid_image WHERE id = ANY(%s::bigint[])"
    for start in range(0, len(ids), BLOCK):
        some = list(ids[start : start + BLOCK])
        records = {record[0]: record for record in db.execute(query, (some,), binary=True)}
        for place, number in enumerate(some, start):
            if number not in records:
                raise DataError(
                    f"{server.address}: has no row {number}, it may have been deleted; list the rows again"
                )
            _, crc, value, *record = records[number]
            features[place] = feature_of(value)
            if not fits(crc, features[place], record):
                raise StorageError(
                    f"{server.address}: row {number} is damaged; list all damaged rows with: python -m runtime gallery verify "
                    f"--store {server.address}; then delete them by `id` (--id), and add their images again"
                )
            rows.append(from_record(tuple(record)))
    return rows, features


def fits(crc: int, feature: NDArray[np.float32], record: Sequence[Any]) -> bool:
    """Return whether a row fits its checksum; `record` are the values of COLUMNS."""
    return checksum(tuple(record), zlib.crc32(feature.astype("<f4").tobytes())) == crc


def known_images(server: Server, images: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, Row]]:
    """Return {(sha256, source): (id, row)} for those of the `images`, pairs of sha256 and source, that are stored."""
    wanted, known = set(images), {}
    digests = sorted({bytes.fromhex(sha256) for sha256, _ in wanted})
    query = f"SELECT id, {COLUMNS} FROM reid_image WHERE sha256 = ANY(%s::bytea[])"
    with server.reading() as db:
        for start in range(0, len(digests), BLOCK):
            for number, *record in db.execute(query, (digests[start : start + BLOCK],), binary=True):
                row = from_record(tuple(record))
                if (row.sha256, row.source) in wanted:
                    known[row.sha256, row.source] = (number, row)
    return known


def list_ids(
    server: Server, filters: Filters, *, person: str | None, after: int, limit: int | None
) -> list[int]:
    """Return the ids of the rows that the filters leave, ascending, which is the order of adding."""
    text, values = condition(filters)
    text += f"{' AND' if text else ' WHERE'} id > %s"
    values.append(after)
    if person is not None:
        text += " AND person = %s"
        values.append(person)
    query = f"SELECT id FROM reid_image{text} ORDER BY id LIMIT %s"
    with server.reading() as db:
        return [number for (number,) in db.execute(query, (*values, limit))]


def list_labels(server: Server) -> list[Labels]:
    """Return (id, camera, person, track) of every row, in the order of adding."""
    with server.reading() as db:
        return labels_in(db)


def labels_in(db: Any) -> list[Labels]:
    """Return what `list_labels` returns, within a transaction."""
    return list(db.execute("SELECT id, camera, person, track FROM reid_image ORDER BY id"))


def count_rows(server: Server, filters: Filters = ALL) -> int:
    """Return the number of the rows that the filters leave."""
    with server.reading() as db:
        return count_in(db, filters)


def count_in(db: Any, filters: Filters, most: int | None = None) -> int:
    """Return the number of the rows that the filters leave, within a transaction; they are counted up to `most` (None: all)."""
    text, values = condition(filters)
    query = f"SELECT count(*) FROM (SELECT 1 FROM reid_image{text} LIMIT %s) AS counted"
    return int(db.execute(query, (*values, most)).fetchone()[0])
