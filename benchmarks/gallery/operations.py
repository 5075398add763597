"""Operations on a gallery, and what each does to the set of rows that it must hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.gallery.rows import gallery, put
from runtime.gallery.api import Gallery
from runtime.gallery.exchange import merge
from runtime.options.store_place import store_place

ADD, DELETE, EXPIRE, COMPACT, MERGE = "add", "delete", "expire", "compact", "merge"
KINDS = (ADD, DELETE, EXPIRE, COMPACT, MERGE)
WEIGHTS = (4, 2, 1, 2, 1)
# Rows of an add, and of the gallery that is merged.
MOST = 48
MERGED = range(900_000, 900_040)


@dataclass(frozen=True)
class Operation:
    """One operation: `kind`, and its `value`.

    `value` is the first number of the rows of an add, the number of the person to delete, or the time in seconds before which rows
    expire. `count` is the number of rows of an add.
    """

    kind: str
    value: int = 0
    count: int = 0

    def after(self, present: frozenset[int]) -> frozenset[int]:
        """Return the rows that are there after the operation, if `present` were before it."""
        if self.kind == ADD:
            return present | frozenset(range(self.value, self.value + self.count))
        if self.kind == DELETE:
            return frozenset(number for number in present if number % 7 != self.value)
        if self.kind == EXPIRE:
            return frozenset(number for number in present if number >= self.value)
        return present | frozenset(MERGED) if self.kind == MERGE else present

    def run(self, store: Gallery, other: Path) -> None:
        """Do it. `other` is the gallery that a merge adds."""
        if self.kind == ADD:
            put(store, range(self.value, self.value + self.count))
        elif self.kind == DELETE:
            store.delete(person=f"person-{self.value}")
        elif self.kind == EXPIRE:
            store.delete(before=self.value)
        elif self.kind == COMPACT:
            store.compact()
        else:
            merge(store_place(store.store.place), [other])


def draw(random: Random, start: int) -> Operation:
    """Return a random operation; an add begins with the row `start`."""
    kind = random.choices(KINDS, WEIGHTS)[0]
    if kind == ADD:
        return Operation(kind, start, random.randint(1, MOST))
    if kind == DELETE:
        return Operation(kind, random.randrange(7))
    return Operation(kind, max(0, start - random.randint(100, 400)) if kind == EXPIRE else 0)


def write_merged(folder: Path) -> Path:
    """Create the gallery whose rows a merge adds, and return its folder."""
    with gallery(folder) as store:
        put(store, MERGED)
    return folder
