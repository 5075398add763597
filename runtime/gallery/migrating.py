"""Move a gallery between a folder and a server: its rows, features, thumbnails and calibrations, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.errors import DataError, StorageError
from runtime.gallery.api import Gallery
from runtime.gallery.places import open_storage
from runtime.options.store_place import ServerAddress, store_place

# Rows that are read, committed and compared at a time.
BLOCK = 1024


@dataclass(frozen=True)
class Migrated:
    """What a migration did: of the `rows` of the source, `added` are new in the target; `calibrations` were copied."""

    rows: int
    added: int
    calibrations: int


def migrate(
    source: Path | str | ServerAddress,
    target: Path | str | ServerAddress,
    *,
    progress: Callable[[int], None] = lambda rows: None,
) -> Migrated:
    """Copy the gallery `source` to `target`, which is created if it does not exist, and compare every copied row with its source.

    The source stays as it is. The rows keep their order and get new numbers, calibrations keep theirs. The index is not copied. The
    same call again resumes a stopped one. Rows that the target has beside those of the source stay.

    Raises DataError if the target has other labels or another feature for an image of the source, or other calibrations, ArtifactError
    for another embedding space, and StorageError when the disk, the server or the connection fails, or the source is damaged.
    """
    with (
        Gallery(open_storage(store_place(source))) as old,
        Gallery(open_storage(store_place(target), old.space)) as new,
    ):
        ids = old.ids()
        added = 0
        for start in range(0, len(ids), BLOCK):
            some = ids[start : start + BLOCK]
            added += _copy_rows(old, new, some)
            progress(len(some))
        return Migrated(len(ids), added, _copy_calibrations(old, new))


def _copy_rows(old: Gallery, new: Gallery, ids: list[int]) -> int:
    rows, features = old.rows(ids)
    jpegs = old.store.thumbnails(ids)
    small = [jpegs.get(number, b"") for number in ids]
    added = new.add_rows(rows, features, small if jpegs else ()).added
    known = new.known((row.sha256, row.source) for row in rows)
    copied, values = new.rows([known[row.sha256, row.source][0] for row in rows])
    for row, copy, feature, value in zip(rows, copied, features, values):
        if row != copy or not np.array_equal(feature.view(np.uint32), value.view(np.uint32)):
            raise DataError(
                f"{new.store.place}: has image {row.sha256[:12]} with other labels or another feature than {old.store.place}; "
                "delete it there, or migrate to an empty gallery"
            )
    return added


def _copy_calibrations(old: Gallery, new: Gallery) -> int:
    records, stored = old.store.calibrations(newest=False), new.store.calibrations(newest=False)
    if broken := [record for record in records if not record.right]:
        raise StorageError(
            f"{old.store.place}: calibration {broken[0].id} ({broken[0].kind}) does not fit its checksum; the rows were copied; "
            "calibrate the target anew"
        )
    # a stopped migration has copied the first of them
    if stored != records[: len(stored)]:
        raise DataError(
            f"{new.store.place}: has other calibrations than {old.store.place}; the rows were copied; migrate to an empty gallery, or "
            "calibrate there"
        )
    for record in records[len(stored) :]:
        new.store.write_calibration(record.kind, record.record, old.store.crops(record.id), record.id)
    return len(records) - len(stored)
