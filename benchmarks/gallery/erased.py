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
    ways: dict[str, tuple[Callable[[Gallery], int], Callable[[int], bool]]] = {
        "person": (lambda store: store.delete(person="person-3"), lambda n: n % 7 == 3),
        "image": (lambda store: store.delete(image=row(44).path), lambda n: n == 44),
        "camera": (lambda store: store.delete(camera=1), lambda n: n % 3 == 1),
        "before": (lambda store: store.delete(before=300), lambda n: n < 300),
        "all": (lambda store: store.delete(before=10**9), lambda n: True),
    }
    return [_measure(folder / name, name, delete, gone) for name, (delete, gone) in ways.items()]


def _measure(
    folder: Path, name: str, delete: Callable[[Gallery], int], gone: Callable[[int], bool]
) -> Erased:
    codes = find_spec("faiss") is not None
    with gallery(folder, segment_rows=ROWS) as store:
        for first in range(0, ROWS, 50):
            numbers = range(first, first + 50)
            store.add_rows([row(n) for n in numbers], features(numbers), [_thumbnail(n) for n in numbers])
        crops = [
            (row(n).person, n % 3, bytes.fromhex(row(n).sha256), feature(n).tobytes(), _crop(n))
            for n in range(0, ROWS, 4)
        ]
        write_calibration(store.store, THRESHOLD, {"off": True}, crops)
        strings = [s for n in filter(gone, range(ROWS)) for s in (*marks(n), _thumbnail(n))]
        strings += [_crop(n) for n in filter(gone, range(0, ROWS, 4))]
        if codes:
            store.build_index(recall=0)
            strings += [path.read_bytes()[-2000:] for path in folder.glob("*.codes")]
        whole = contents(folder)
        before = sum(string in whole for string in strings)
        deleted = delete(store)
        left = contents(folder)
        return Erased(name, deleted, len(strings), before, sum(string in left for string in strings), codes)


def _thumbnail(number: int) -> bytes:
    return b"thumbnail" + hashlib.sha256(f"t{number}".encode()).digest() * 8


def _crop(number: int) -> bytes:
    return b"crop" + hashlib.sha256(f"c{number}".encode()).digest() * 32
