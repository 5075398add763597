"""Change the person of a row, for example when somebody confirms a match."""

from __future__ import annotations

import zlib
from dataclasses import replace

from runtime.gallery.store.reading import stored_features
from runtime.gallery.store.rows import Row, checksum
from runtime.gallery.store.schema import transaction
from runtime.gallery.store.store import Store


def set_person(store: Store, number: int, person: str | None) -> Row:
    """Change the person of row `number` (None: unknown), and return the row. On return, this is on the disk.

    Raises DataError for a row that does not exist, and StorageError for a damaged one or when the disk fails.
    """
    with store.writing() as db:
        (row,), features = stored_features(store, store.segments(store.state().generation), [number])
        changed = replace(row, person=person)
        crc = checksum(changed.record(), zlib.crc32(features[0].astype("<f4")))
        with transaction(db):
            db.execute("UPDATE image SET person = ?, crc = ? WHERE id = ?", (person, crc, number))
            db.execute("UPDATE store SET changes = changes + 1")
        # the earlier name leaves the write-ahead log; a reader that prevents it is no error
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return changed
