"""The rows of a gallery in memory: what a search needs to filter and to rank, checked once against the checksums."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.lookup.filters import ALL, Filters
from runtime.gallery.store.reading import damaged, feature_at
from runtime.gallery.store.rows import COLUMNS, checksum
from runtime.gallery.store.segments import Segments
from runtime.gallery.store.store import State, Store

# What stands for an unknown camera and an unknown time.
NO_CAMERA, NO_TIME = -1, np.iinfo(np.int64).min
# Rows that are fetched at a time.
FETCHED = 8192
# The columns of a snapshot.
COLUMN_KINDS: dict[str, Any] = {
    "ids": np.int64,
    "slots": np.int64,
    "cameras": np.int64,
    "times": np.int64,
    "crcs": np.uint32,
}


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The rows of one state of a gallery, in the order of their slots: `ids`, `slots`, `cameras` and `times` (N,).

    `crcs` (N,) are the checksums of the features alone, which no change of a label changes. `maps` are memory maps of the segment
    files, by number, and a segment has `segment_rows` slots.
    """

    state: State
    segment_rows: int
    ids: NDArray[np.int64]
    slots: NDArray[np.int64]
    cameras: NDArray[np.int64]
    times: NDArray[np.int64]
    crcs: NDArray[np.uint32]
    maps: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def features(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features (n, D) of the rows with the numbers `places` (n,) in this snapshot, n at least 1."""
        return np.stack(
            [self.maps[s // self.segment_rows][s % self.segment_rows] for s in self.slots[places].tolist()]
        )

    def span(self, number: int) -> tuple[int, int]:
        """Return (first, last + 1) of the rows of segment `number`."""
        first, last = np.searchsorted(
            self.slots, [number * self.segment_rows, (number + 1) * self.segment_rows]
        )
        return int(first), int(last)

    def segments(self) -> list[int]:
        """Return the numbers of the segments that have rows, ascending."""
        return [int(number) for number in np.unique(self.slots // self.segment_rows)]

    def selected(self, filters: Filters) -> NDArray[np.bool_] | None:
        """Return which rows the filters leave (N,), or None if they leave all."""
        if filters == ALL:
            return None
        chosen = np.ones(len(self.ids), bool)
        if filters.cameras is not None:
            chosen &= np.isin(self.cameras, [camera for camera in filters.cameras if camera >= 0])
        if filters.since_us is not None or filters.until_us is not None:
            chosen &= self.times != NO_TIME
        if filters.since_us is not None:
            chosen &= self.times >= filters.since_us
        if filters.until_us is not None:
            chosen &= self.times < filters.until_us
        return chosen


def empty_snapshot() -> Snapshot:
    """Return a snapshot that holds nothing and is older than every state."""
    columns: dict[str, Any] = {name: np.empty(0, kind) for name, kind in COLUMN_KINDS.items()}
    return Snapshot(State(-1, 0, 0), 1, **columns)


def refreshed(store: Store, old: Snapshot) -> Snapshot:
    """Return the snapshot of the current state. Only rows that `old` does not hold are read and checked.

    Raises StorageError for a row that does not fit its checksum.
    """
    with store.reading() as db:
        state = store.state()
        if state == old.state:
            return old
        if state.generation != old.state.generation:
            old = empty_snapshot()
        kept = old
        if state.changes != old.state.changes and len(old.ids):
            ids = np.fromiter((number for (number,) in db.execute("SELECT id FROM image")), np.int64)
            keep = np.isin(old.ids, ids)
            kept = _part(old, keep)
        last = int(old.ids.max()) if len(old.ids) else 0
        new = _new_rows(store, state, last, old.maps)
        joined = {name: np.concatenate([getattr(kept, name), getattr(new, name)]) for name in COLUMN_KINDS}
        return Snapshot(state, store.segment_rows, maps=new.maps, **joined)


def _part(snapshot: Snapshot, keep: NDArray[np.bool_]) -> Snapshot:
    columns = {name: getattr(snapshot, name)[keep] for name in COLUMN_KINDS}
    return replace(snapshot, **columns)


def _new_rows(store: Store, state: State, last: int, maps: dict[int, NDArray[np.float32]]) -> Snapshot:
    """Read and check the rows with an id above `last`."""
    segments = store.segments(state.generation)
    maps = dict(maps)
    parts: dict[str, list[NDArray[Any]]] = {name: [np.empty(0, kind)] for name, kind in COLUMN_KINDS.items()}
    # a later row has a larger id and a later slot, and the order of the ids is the faster one
    cursor = store.db.execute(f"SELECT id, slot, crc, {COLUMNS} FROM image WHERE id > ? ORDER BY id", (last,))
    while records := cursor.fetchmany(FETCHED):
        crcs = _feature_checksums(store, segments, state, records, maps)
        columns = {
            "ids": [record[0] for record in records],
            "slots": [record[1] for record in records],
            "cameras": [NO_CAMERA if record[5] is None else record[5] for record in records],
            "times": [NO_TIME if record[6] is None else record[6] for record in records],
            "crcs": crcs,
        }
        for name, column in columns.items():
            parts[name].append(np.array(column, COLUMN_KINDS[name]))
    arrays = {name: np.concatenate(some) for name, some in parts.items()}
    if len(wrong := np.flatnonzero(np.diff(arrays["slots"]) <= 0)):
        raise damaged(store, int(arrays["ids"][wrong[0] + 1]))
    return Snapshot(state, segments.rows, maps=maps, **arrays)


def _feature_checksums(
    store: Store,
    segments: Segments,
    state: State,
    records: list[tuple[Any, ...]],
    maps: dict[int, NDArray[np.float32]],
) -> list[int]:
    """Return the checksums of the features of `records`. Raises StorageError for a row that does not fit its own checksum."""
    checksums = []
    data: dict[int, memoryview] = {}
    size, stride = segments.rows, segments.stride
    for record in records:
        try:
            slot, right = record[1], 0 <= record[1] < state.next_slot
            if right:
                number, row = divmod(slot, size)
                if number not in data or len(data[number]) < (row + 1) * stride:
                    feature_at(store, segments, number, row, maps)
                    data[number] = memoryview(maps[number].view(np.uint8).reshape(-1).data)
                own = zlib.crc32(data[number][row * stride : (row + 1) * stride])
                right = checksum(record[3:], own) == record[2]
        except (TypeError, ValueError):
            right = False
        if not right:
            raise damaged(store, record[0])
        checksums.append(own)
    return checksums
