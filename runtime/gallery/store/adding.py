"""Add rows to a gallery: on return, they are on the disk."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError, NonFiniteFeatures
from runtime.gallery.space import Space
from runtime.gallery.store.rows import COLUMNS, Row, checksum
from runtime.gallery.store.schema import transaction
from runtime.gallery.store.store import Store

# How far the length of a feature may be from 1.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Added:
    """What an add did: `added` rows are new, `present` were stored before, `differing` of these with other labels."""

    added: int
    present: int
    differing: int = 0

    def __add__(self, other: Added) -> Added:
        return Added(self.added + other.added, self.present + other.present, self.differing + other.differing)


def add_rows(
    store: Store, rows: Sequence[Row], features: NDArray[np.float32], thumbnails: Sequence[bytes] = ()
) -> Added:
    """Add one row for each of the `features` (N, D); a row whose image and source are stored already changes nothing.

    The features are on the disk before the rows are committed, so a row that exists has its feature. `thumbnails` are N JPEG files, or
    none. Raises DataError for features that are no unit vectors of the gallery's width, and StorageError when the disk fails or is
    full; then no row of this call is stored.
    """
    check_features(store.space, str(store.folder), rows, features)
    with store.writing() as db:
        fresh: dict[tuple[Any, ...], int] = {}
        present = differing = 0
        for number, row in enumerate(rows):
            record = row.record()
            stored = db.execute(
                f"SELECT {COLUMNS} FROM image WHERE sha256 = ? AND source = ?", record[:2]
            ).fetchone()
            earlier = fresh.get(record[:2])
            if stored is None and earlier is None:
                fresh[record[:2]] = number
                continue
            known = stored if stored is not None else rows[earlier or 0].record()
            present += 1
            differing += known[2:6] != record[2:6]
        if fresh:
            numbers = list(fresh.values())
            _append(
                store,
                db,
                [rows[n] for n in numbers],
                features[numbers],
                [*map(thumbnails.__getitem__, numbers)] if thumbnails else [],
            )
        return Added(len(fresh), present, differing)


def _append(
    store: Store,
    db: sqlite3.Connection,
    rows: Sequence[Row],
    features: NDArray[np.float32],
    thumbnails: Sequence[bytes],
) -> None:
    state = store.state()
    stored = np.ascontiguousarray(features, "<f4")
    store.segments(state.generation).append(state.next_slot, stored)
    with transaction(db):
        for number, (row, feature) in enumerate(zip(rows, stored)):
            record = row.record()
            values = (*record, state.next_slot + number, checksum(record, zlib.crc32(feature)))
            cursor = db.execute(
                f"INSERT INTO image ({COLUMNS}, slot, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values
            )
            if thumbnails and thumbnails[number]:
                db.execute("INSERT INTO thumbnail VALUES (?, ?)", (cursor.lastrowid, thumbnails[number]))
        db.execute("UPDATE store SET next_slot = ?", (state.next_slot + len(rows),))


def check_features(space: Space, place: str, rows: Sequence[Row], features: NDArray[np.float32]) -> None:
    """Raise DataError unless the features are unit vectors of the gallery at `place`, one for each row."""
    if features.dtype != np.float32 or features.ndim != 2 or len(features) != len(rows):
        raise DataError(
            f"features are {features.dtype} {features.shape}; give (N, {space.dim}) float32, one row for each image"
        )
    if features.shape[1] != space.dim:
        raise DataError(
            f"{place}: holds features of {space.dim} numbers, not {features.shape[1]}; use the model of this gallery"
        )
    norms = np.linalg.norm(features, axis=1)
    if len(bad := np.flatnonzero(~np.isfinite(norms))):
        raise NonFiniteFeatures(f"feature {bad[0]} has NaN or infinity; leave it out", tuple(bad.tolist()))
    if len(bad := np.flatnonzero(abs(norms - 1) > TOLERANCE)):
        raise DataError(f"feature {bad[0]} has length {norms[bad[0]]:.3g}, not 1; divide it by its length")
