"""Change the person of rows, for example when somebody confirms a match."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from runtime.gallery.store.reading import stored_features
from runtime.gallery.store.rows import Row, checksum
from runtime.gallery.store.schema import transaction
from runtime.gallery.store.store import Store


def set_persons(store: Store, numbers: Sequence[int], person: str | None) -> list[Row]:
    """Change the person of the rows `numbers` (None: unknown), all or none, and return the rows. On return, this is on the disk.

    Raises DataError for a row that does not exist, and StorageError for a damaged one or when the disk fails.
    """
    with store.writing() as db:
        rows, features = stored_features(store, store.segments(store.state().generation), numbers)
        changed = [replace(row, person=person) for row in rows]
        checksums = [
            checksum(row.record(), zlib.crc32(feature.astype("<f4")))
            for row, feature in zip(changed, features)
        ]
        with transaction(db):
            db.executemany(
                "UPDATE image SET person = ?, crc = ? WHERE id = ?",
                [(person, crc, number) for crc, number in zip(checksums, numbers)],
            )
            db.execute("UPDATE store SET changes = changes + 1")
        # the earlier names leave the write-ahead log; a reader that prevents it is no error
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return changed
