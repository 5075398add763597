"""Check every row of a gallery, and report what is damaged."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import StorageError
from runtime.gallery.store.reading import feature_at, read_calibrations
from runtime.gallery.store.rows import COLUMNS, checksum
from runtime.gallery.store.store import Store

# The most problems that are listed.
SHOWN = 100


@dataclass(frozen=True)
class Verified:
    """The number of `rows` that were read, how many things are `damaged`, and a line for each of these, of which 100 are listed."""

    rows: int
    damaged: int
    problems: tuple[str, ...]


def verify(store: Store) -> Verified:
    """Read every row and feature, and the calibrations in use, and compare them with their checksums. Changes nothing.

    Also checks the structure of the SQLite file and that each row has a slot of its own below the next free one. Raises StorageError
    if the SQLite file cannot be read at all.
    """
    problems: list[str] = []
    rows = 0
    with store.reading() as db:
        try:
            problems += [text for (text,) in db.execute("PRAGMA integrity_check(100)") if text != "ok"]
            for problem in _damaged_rows(store):
                rows += 1
                problems += [problem] if problem else []
            problems += [
                f"calibration {record.id} ({record.kind}): does not fit its checksum; switch it off with `switch_off` (--off)"
                for record in read_calibrations(db, newest=True)
                if not record.right
            ]
        except sqlite3.DatabaseError as error:
            problems.append(f"the SQLite file cannot be read to its end: {error}")
    return Verified(rows, len(problems), tuple(problems[:SHOWN]))


def _damaged_rows(store: Store) -> Iterator[str]:
    """Yield for each row the problem with it, or ""."""
    state = store.state()
    segments = store.segments(state.generation)
    maps: dict[int, NDArray[np.float32]] = {}
    query = f"SELECT id, slot, crc, {COLUMNS} FROM image ORDER BY slot"
    for number, slot, crc, *record in store.db.execute(query):
        try:
            if not isinstance(slot, int) or not 0 <= slot < state.next_slot:
                yield f"row {number}: its slot {slot!r} is outside the files"
                continue
            feature = feature_at(store, segments, *divmod(slot, segments.rows), maps)
            right = checksum(tuple(record), zlib.crc32(feature.astype("<f4").tobytes())) == crc
            yield "" if right else f"row {number}: does not fit its checksum"
        except StorageError as error:
            yield f"row {number}: {error}"
        except (TypeError, ValueError):
            yield f"row {number}: has values of the wrong type"
