"""Segment files: the features of a gallery, as float32 rows at numbered slots. Knows nothing of SQLite or of people."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.store import files

SUFFIX, CODES = ".f32", ".codes"
# A row as it is stored, on every machine.
LITTLE = np.dtype("<f4")


@dataclass(frozen=True)
class Segments:
    """The segment files of one generation of a gallery, in `folder`.

    A slot holds one feature of `dim` numbers. Slot s is row s % `rows` of the file with the number s // `rows`. A compaction writes
    a new generation.
    """

    folder: Path
    generation: int
    dim: int
    rows: int

    @property
    def stride(self) -> int:
        """The bytes of one feature."""
        return self.dim * LITTLE.itemsize

    def path(self, number: int) -> Path:
        """Return the file of a segment."""
        return self.folder / f"{self.generation:06d}-{number:06d}{SUFFIX}"

    def codes_path(self, number: int) -> Path:
        """Return the file for the codes of a segment, which an index makes from its features."""
        return self.path(number).with_suffix(CODES)

    def append(self, first: int, features: NDArray[np.float32]) -> None:
        """Write `features` (N, dim) to the slots from `first` on, and wait until they are on the disk. Raises OSError."""
        at = 0
        while at < len(features):
            number, row = divmod(first + at, self.rows)
            count = min(len(features) - at, self.rows - row)
            data = np.ascontiguousarray(features[at : at + count], LITTLE)
            new = not self.path(number).exists()
            with self._open(number) as file:
                files.write_at(file, data.tobytes(), row * self.stride)
                files.sync_data(file)
            if new:
                files.sync_folder(self.folder)
            at += count

    def wipe(self, slots: Sequence[int]) -> None:
        """Overwrite the slots with zeros, and wait until this is on the disk. A slot whose file is gone is left out."""
        for number, rows in self.by_segment(slots):
            if not self.path(number).exists():
                continue
            with self._open(number) as file:
                size = os.fstat(file).st_size
                for start, count in runs(rows):
                    end = min((start + count) * self.stride, size)
                    if end > start * self.stride:
                        files.write_at(file, bytes(end - start * self.stride), start * self.stride)
                files.sync_data(file)

    def by_segment(self, slots: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Yield (number of the segment, its rows) for ascending `slots`."""
        places: dict[int, list[int]] = {}
        for slot in slots:
            places.setdefault(slot // self.rows, []).append(slot % self.rows)
        yield from places.items()

    def cut(self, next_slot: int) -> None:
        """Remove the bytes after slot `next_slot` - 1, which an add left that did not finish, and the files of other generations."""
        number, row = divmod(next_slot, self.rows)
        for path in [*self.folder.glob(f"*{SUFFIX}"), *self.folder.glob(f"*{CODES}")]:
            keeps = path.name.startswith(f"{self.generation:06d}-")
            place = int(path.stem.split("-")[1]) if keeps else -1
            if not keeps or place > number or (place == number and not row):
                files.remove(path)
        if row and self.path(number).exists():
            with self._open(number) as file:
                if os.fstat(file).st_size > row * self.stride:
                    files.truncate(file, row * self.stride)

    def mapped(self, number: int, rows: int) -> NDArray[np.float32]:
        """Return the first `rows` rows of a segment as a read-only memory map (rows, dim). Raises OSError or ValueError."""
        return np.asarray(np.memmap(self.path(number), LITTLE, "r", shape=(rows, self.dim)))

    @contextmanager
    def _open(self, number: int) -> Iterator[int]:
        file = os.open(self.path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield file
        finally:
            os.close(file)


def runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of each run of consecutive numbers in the ascending `rows`."""
    start = 0
    for at in range(1, len(rows) + 1):
        if at == len(rows) or rows[at] != rows[at - 1] + 1:
            yield rows[start], at - start
            start = at
