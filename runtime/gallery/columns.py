"""The labels of all rows as arrays, for calibrations. Reads no feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Columns:
    """The rows of a gallery in the order of adding.

    `ids` are their numbers. `cameras` (N,) are 0-based, -1 if unknown. `persons` (N,) number the people from 1, 0 if unknown. `groups`
    (N,) number the people where they are known, else the tracks of each camera, -1 if neither is known.
    """

    ids: list[int]
    cameras: NDArray[np.int64]
    persons: NDArray[np.int64]
    groups: NDArray[np.int64]

    @property
    def enrolled(self) -> int:
        """How many people the gallery holds, at most: people, tracks without a person, and rows without either."""
        return len(np.unique(self.groups[self.groups >= 0])) + int((self.groups < 0).sum())


def columns_of(records: Sequence[tuple[int, int | None, str | None, str | None]]) -> Columns:
    """Return the labels of all rows, whose `records` are (id, camera, person, track)."""
    people: dict[str, int] = {}
    groups: dict[tuple[object, ...], int] = {}
    persons, grouped = [], []
    for _, camera, person, track in records:
        persons.append(0 if person is None else people.setdefault(person, len(people) + 1))
        key = (person,) if person is not None else None if track is None else (camera, track)
        grouped.append(-1 if key is None else groups.setdefault(key, len(groups)))
    return Columns(
        [record[0] for record in records],
        np.array([-1 if record[1] is None else record[1] for record in records], np.int64),
        np.array(persons, np.int64),
        np.array(grouped, np.int64),
    )
