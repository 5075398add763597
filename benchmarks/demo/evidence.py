"""What the demo's page shows of a ranking: strips of matches, precision by visible share. Knows no HTML and no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.stats.precisions import EDGES, in_range, index_name
from runtime.errors import DataError
from runtime.features import Features, same_model
from runtime.ranking.nearest import search

TOP = 8


@dataclass(frozen=True)
class Hit:
    """One gallery picture of a ranking: its name in the data set, 0-based camera, cosine distance (0..2)."""

    name: str
    camid: int
    distance: float
    right: bool


@dataclass(frozen=True)
class Strip:
    """A query, the share of the person that can be seen (0..1), its nearest pictures and the rank of the first right one.

    `role` says what the query stands for.
    """

    name: str
    camid: int
    visible: float
    first_right: int
    hits: tuple[Hit, ...]
    role: str = ""


def visible_shares(features: Features, pictures: Mapping[str, Mapping[str, float]]) -> NDArray[np.float64]:
    """(N,) the share of each person that nothing hides, 0..1; DataError for a picture that anny.json lacks."""
    names = [index_name(path) for path in features.paths]
    if missing := [name for name in names if name not in pictures]:
        raise DataError(f"{missing[0]}: not in anny.json; fetch data/anny_reid again and extract again")
    return np.array([pictures[name]["visible"] for name in names])


def typical(
    precisions: NDArray[np.float64], visible: NDArray[np.float64], edges: Sequence[float] = EDGES
) -> dict[int, str]:
    """Row -> role of queries that stand for all: two of each group by visible share, the least visible group first.

    They are the upper and the lower quartile of the group's average precisions (a group of one gives one row; equal
    precisions rank by row).
    """
    rows: dict[int, str] = {}
    for low, high in zip(edges, edges[1:]):
        inside = np.flatnonzero(in_range(visible, low, high, edges[-1]))
        order = inside[np.argsort(precisions[inside], kind="stable")]
        for share, role in ((0.75, "upper quartile"), (0.25, "lower quartile")):
            if len(order):
                rows.setdefault(int(order[round(share * (len(order) - 1))]), role)
    return rows


def strip(row: int, query: Features, gallery: Features, visible: float, *, top: int = TOP) -> Strip:
    """The `top` nearest gallery pictures of one query, those of its person by its own camera left out, junk too.

    A camera that is not known (-1) hides nothing. DataError when no picture of the person is left.
    """
    same_model(query, gallery)
    pid, camid = int(query.pids[row]), int(query.camids[row])
    hidden = (gallery.pids == pid) & (gallery.camids == camid) & (camid != -1) | (gallery.pids == -1)
    kept = np.flatnonzero(~hidden)
    indices, distances = search(query.features[row : row + 1], gallery.features[kept], top=len(kept))
    ranked = kept[indices[0]]
    right = gallery.pids[ranked] == pid
    if not right.any():
        raise DataError(f"{query.paths[row]}: no picture of this person from another camera in the gallery")
    hits = tuple(
        Hit(index_name(gallery.paths[index]), int(gallery.camids[index]), float(distance), bool(match))
        for index, distance, match in zip(ranked[:top], distances[0], right)
    )
    return Strip(index_name(query.paths[row]), camid, visible, int(np.argmax(right)) + 1, hits)


def strips(
    query: Features,
    gallery: Features,
    visible: NDArray[np.float64],
    precisions: NDArray[np.float64],
    *,
    top: int = TOP,
) -> list[Strip]:
    """The strips of the `typical` rows, and last the hardest of the rest: its first right picture has the lowest rank.

    `visible` and `precisions` are (Q,); equally hard queries: the earlier row.
    """
    every = [strip(row, query, gallery, float(share), top=top) for row, share in enumerate(visible)]
    chosen = typical(precisions, visible)
    rest = [row for row in range(len(every)) if row not in chosen]
    if rest:
        chosen[max(rest, key=lambda row: every[row].first_right)] = "the worst"
    return [replace(every[row], role=role) for row, role in chosen.items()]
