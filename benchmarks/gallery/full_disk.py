"""Fill the disk with a gallery, and check what is left before and after space is freed. Needs a small file system."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.gallery.rows import features, gallery, put, row
from runtime.errors import ConfigError, StorageError
from runtime.gallery.api import Gallery, open_gallery

# A larger disk would take too long to fill.
LARGEST = 256 << 20
BATCH = 200


@dataclass(frozen=True)
class FullDisk:
    """What a full disk of `disk_bytes` bytes costs.

    `acknowledged` rows were added before the disk was full. `lost` of them are missing afterwards, and `damaged` have other labels or
    features. `refused` lists the operations that ended with a StorageError while the disk was full, `done` those that succeeded.
    `resumed` says whether rows could be added again after some space was freed and rows were deleted.
    """

    disk_bytes: int
    acknowledged: int
    lost: int
    damaged: int
    refused: tuple[str, ...]
    done: tuple[str, ...]
    resumed: bool


def measure_full_disk(folder: Path) -> list[FullDisk]:
    """Add rows in `folder` until the disk is full, and try every operation on the full disk.

    Raises ConfigError if the disk is larger than 256 MiB.
    """
    size = shutil.disk_usage(folder).total
    if size > LARGEST:
        raise ConfigError(
            f"{folder}: a disk of {size >> 20} MiB; give --at a small one, made with: mount -t tmpfs -o size=64m tmpfs DIR"
        )
    place, numbers = folder / "gallery", list[int]()
    spare = folder / "spare"
    # a deletion rewrites the SQLite file, so it needs free space for a copy of it
    spare.write_bytes(bytes(size // 2))
    with gallery(place, segment_rows=65_536) as store:
        try:
            for first in range(0, 10**9, BATCH):
                put(store, range(first, first + BATCH))
                numbers += range(first, first + BATCH)
        except StorageError:
            # the disk is full, as intended, and not broken
            if shutil.disk_usage(folder).free > size // 16:
                raise
    refused, done = _try_all(place)
    spare.unlink()
    with open_gallery(place) as store:
        lost, damaged = _check(store, numbers)
        store.delete(person="person-3")
        kept = [number for number in numbers if number % 7 != 3]
        more = list(range(10**6, 10**6 + BATCH))
        put(store, more)
        after = _check(store, kept + more)
        resumed = after == (0, 0) and len(store) == len(kept) + len(more)
    return [FullDisk(size, len(numbers), lost, damaged, refused, done, resumed)]


def _try_all(place: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which operations a full disk refuses with a StorageError, and which it does. Each opens the gallery anew."""
    operations: dict[str, Callable[[Gallery], object]] = {
        "search": lambda store: store.search(features([1])),
        "verify": lambda store: store.verify(),
        "add": lambda store: put(store, range(10**7, 10**7 + BATCH)),
        "compact": lambda store: store.compact(),
    }
    refused, done = [], []
    for name, operation in operations.items():
        try:
            with open_gallery(place) as store:
                operation(store)
            done.append(name)
        except StorageError:
            refused.append(name)
    return tuple(refused), tuple(done)


def _check(store: Gallery, numbers: list[int]) -> tuple[int, int]:
    """Return how many of the rows are missing, and how many are there with other labels or features."""
    rows, stored = store.rows(store.ids())
    place = {one.sha256: at for at, one in enumerate(rows)}
    found = [(number, place.get(row(number).sha256)) for number in numbers]
    lost = sum(at is None for _, at in found)
    right = features(numbers)
    wrong = sum(
        at is not None and (rows[at] != row(number) or not np.array_equal(stored[at], right[n]))
        for n, (number, at) in enumerate(found)
    )
    return lost, wrong + store.verify().damaged
