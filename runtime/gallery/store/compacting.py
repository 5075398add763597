"""Rewrite a gallery without the space of deleted rows."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from runtime.errors import StorageError
from runtime.gallery.store import files
from runtime.gallery.store.reading import stored_features
from runtime.gallery.store.schema import transaction
from runtime.gallery.store.store import Store, empty_log

# Rows that are copied at a time.
BLOCK = 4096


@dataclass(frozen=True)
class Compacted:
    """How many `rows` a compaction kept, and how many slots of deleted rows it `freed`."""

    rows: int
    freed: int


def compact(store: Store) -> Compacted:
    """Write the features of all rows to new segment files, and remove the old ones. The rows and their ids stay as they are.

    Needs free space for a second copy of the features. Raises StorageError when there is too little, when the disk fails, or when a
    feature is damaged; the gallery then stays as it was.
    """
    with store.writing() as db:
        state = store.state()
        records = db.execute("SELECT id, slot FROM image ORDER BY slot").fetchall()
        freed = state.next_slot - len(records)
        empty_log(store)
        if not freed:
            return Compacted(len(records), 0)
        old, new = store.segments(state.generation), store.segments(state.generation + 1)
        needed, free = len(records) * old.stride, shutil.disk_usage(store.folder).free
        if needed > free:
            raise StorageError(
                f"{store.folder}: a compaction writes {needed / 1e6:.0f} MB, but the disk has {free / 1e6:.0f} MB; free some space"
            )
        try:
            for start in range(0, len(records), BLOCK):
                ids = [number for number, _ in records[start : start + BLOCK]]
                _, features = stored_features(store, old, ids)
                new.append(start, features)
            with transaction(db):
                # The rows are in the order of their slots, so a row's new slot is free: it is its own, or that of an earlier row.
                moved = [(place, number) for place, (number, slot) in enumerate(records) if place != slot]
                db.executemany("UPDATE image SET slot = ? WHERE id = ?", moved)
                db.execute(
                    "UPDATE store SET generation = ?, next_slot = ?, changes = changes + 1",
                    (new.generation, len(records)),
                )
        except BaseException:
            new_rows = store.state().generation == new.generation
            store.segments(new.generation if new_rows else old.generation).cut(
                len(records) if new_rows else state.next_slot
            )
            raise
        # removes the files of the old generation
        new.cut(len(records))
        files.sync_folder(store.folder)
        empty_log(store)
        return Compacted(len(records), freed)
