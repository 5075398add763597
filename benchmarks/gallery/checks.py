"""Compare a gallery with the rows that it must hold, as it is on the disk, before anything repairs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.gallery.rows import contents, feature, marks, row
from runtime.errors import DataError
from runtime.gallery.api import open_gallery
from runtime.options.store_place import StorePlace


@dataclass(frozen=True)
class Findings:
    """What is wrong with a gallery: the numbers of rows that are `lost`, `undead` (deleted before), `double` or `damaged`.

    `half` is 1 if the unfinished operation was done in part. `rows` is the number of rows that were read.
    """

    rows: int = 0
    lost: int = 0
    undead: int = 0
    double: int = 0
    damaged: int = 0
    half: int = 0

    def __add__(self, other: Findings) -> Findings:
        return Findings(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))

    @property
    def faults(self) -> int:
        """The number of things that are wrong."""
        return self.lost + self.undead + self.double + self.damaged + self.half


def inspect(
    place: StorePlace, before: frozenset[int], after: frozenset[int]
) -> tuple[Findings, frozenset[int]]:
    """Return what is wrong with the gallery, and the numbers of its rows.

    `before` and `after` are the rows without and with the operation that was interrupted; either is right, and nothing between.
    """
    images = {row(number).sha256: number for number in before | after}
    try:
        with open_gallery(place) as store:
            ids = store.ids()
            stored, features = store.rows(ids)
            damaged = len(store.verify().problems)
    except DataError:
        # killed before the tables were created
        stored, features, damaged = [], np.empty((0, 0), np.float32), 0
    numbers = [images.get(one.sha256, -1) for one in stored]
    for number, one, values in zip(numbers, stored, features):
        damaged += number >= 0 and (one != row(number) or not np.array_equal(values, feature(number)))
    present = frozenset(number for number in numbers if number >= 0)
    lost, undead = (before & after) - present, sum(number < 0 for number in numbers)
    return (
        Findings(
            rows=len(numbers),
            lost=len(lost),
            undead=undead,
            double=len(numbers) - undead - len(present),
            damaged=damaged,
            half=int(not lost and present not in (before, after)),
        ),
        present,
    )


def leftovers(place: StorePlace, gone: Iterable[int]) -> int:
    """Return how many of the deleted rows have a byte string of theirs in some file of the gallery."""
    data = contents(place)
    return sum(any(mark in data for mark in marks(number)) for number in gone)
