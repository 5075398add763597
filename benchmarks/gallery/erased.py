"""Delete rows in every way, and look for their bytes in all files of the gallery: features, labels, thumbnails, codes, the log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gallery.rows import contents, feature, features, gallery, marks, row
from runtime.gallery.api import Gallery
from runtime.gallery.calibrations import THRESHOLD, write_calibration

ROWS = 600


@dataclass(frozen=True)
class Erased:
    """What one way of deleting (`how`) left in the files.

    `rows` rows were deleted. Of the `sought` byte strings of these rows, the files held `before` strings before the deletion, and
    `found` after it. `codes` says whether the gallery had an index.
    """

    how: str
    rows: int
    sought: int
    before: int
    found: int
    codes: bool


def measure_erased(folder: Path) -> list[Erased]:
    """Fill a gallery for each way of deleting, delete, and count the bytes that are left while the gallery is still open."""
    return [_measure(folder / name, name, delete, gone) for name, (delete, gone) in WAYS.items()]


# How to delete, and which rows that deletes.
WAYS: dict[str, tuple[Callable[[Gallery], int], Callable[[int], bool]]] = {
    "person": (lambda store: store.delete(person="person-3"), lambda n: n % 7 == 3),
    "image": (lambda store: store.delete(image=row(44).path), lambda n: n == 44),
    "camera": (lambda store: store.delete(camera=1), lambda n: n % 3 == 1),
    "before": (lambda store: store.delete(before=300), lambda n: n < 300),
    "all": (lambda store: store.delete(before=10**9), lambda n: True),
}


def fill(store: Gallery) -> None:
    """Add ROWS rows with thumbnails, and calibration crops of every fourth."""
    for first in range(0, ROWS, 50):
        numbers = range(first, first + 50)
        store.add_rows([row(n) for n in numbers], features(numbers), [thumbnail_of(n) for n in numbers])
    crops = [
        (row(n).person, n % 3, bytes.fromhex(row(n).sha256), feature(n).tobytes(), crop_of(n))
        for n in range(0, ROWS, 4)
    ]
    write_calibration(store.store, THRESHOLD, {"off": True}, crops)


def strings_of(gone: Callable[[int], bool]) -> list[bytes]:
    """Return the byte strings of the rows that a deletion must erase."""
    strings = [s for n in filter(gone, range(ROWS)) for s in (*marks(n), thumbnail_of(n))]
    return strings + [crop_of(n) for n in filter(gone, range(0, ROWS, 4))]


def _measure(
    folder: Path, name: str, delete: Callable[[Gallery], int], gone: Callable[[int], bool]
) -> Erased:
    codes = find_spec("faiss") is not None
    with gallery(folder, segment_rows=ROWS) as store:
        fill(store)
        strings = strings_of(gone)
        if codes:
            store.build_index(recall=0)
            strings += [path.read_bytes()[-2000:] for path in folder.glob("*.codes")]
        whole = contents(folder)
        before = sum(string in whole for string in strings)
        deleted = delete(store)
        left = contents(folder)
        return Erased(name, deleted, len(strings), before, sum(string in left for string in strings), codes)


def thumbnail_of(number: int) -> bytes:
    """Return the bytes that stand for the thumbnail of a row."""
    return b"thumbnail" + hashlib.sha256(f"t{number}".encode()).digest() * 8


def crop_of(number: int) -> bytes:
    """Return the bytes that stand for a calibration crop of a row."""
    return b"crop" + hashlib.sha256(f"c{number}".encode()).digest() * 32
