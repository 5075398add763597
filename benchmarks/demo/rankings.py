"""Rankings of single queries for the demo's page, and the choice of the queries that it shows. Produces no HTML and runs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.stats.precisions import EDGES, in_range, index_name
from runtime.errors import DataError
from runtime.features import Features, same_model
from runtime.ranking.nearest import nearest_rows

TOP = 8


@dataclass(frozen=True)
class Hit:
    """One gallery image of a ranking: its name in anny.json, 0-based camera, cosine distance (0..2) and whether it is a match."""

    name: str
    camid: int
    distance: float
    match: bool


@dataclass(frozen=True)
class RankedQuery:
    """A query, the visible share of its person (0..1), its nearest gallery images, and the rank of the first match (from 1).

    `role` says why the page shows this query.
    """

    name: str
    camid: int
    visible: float
    first_match: int
    hits: tuple[Hit, ...]
    role: str = ""


def visible_shares(features: Features, index: Mapping[str, Mapping[str, float]]) -> NDArray[np.float64]:
    """Return (N,) the visible share of the person in every image, 0..1; raises DataError for an image that anny.json lacks."""
    names = [index_name(path) for path in features.paths]
    if missing := [name for name in names if name not in index]:
        raise DataError(f"{missing[0]}: not in anny.json; fetch data/anny_reid again and extract again")
    return np.array([index[name]["visible"] for name in names])


def representative_rows(
    precisions: NDArray[np.float64], visible: NDArray[np.float64], edges: Sequence[float] = EDGES
) -> dict[int, str]:
    """Return row -> role of two queries per group by visible share, beginning with the least visible group.

    The two are at the upper and the lower quartile of the group's average precisions. Equal precisions are ordered by row. A
    group of one query gives one row.
    """
    roles: dict[int, str] = {}
    for low, high in zip(edges, edges[1:]):
        members = np.flatnonzero(in_range(visible, low, high, edges[-1]))
        order = members[np.argsort(precisions[members], kind="stable")]
        for quantile, role in ((0.75, "upper quartile"), (0.25, "lower quartile")):
            if len(order):
                roles.setdefault(int(order[round(quantile * (len(order) - 1))]), role)
    return roles


def rank_query(
    row: int, query: Features, gallery: Features, visible: float, *, top: int = TOP
) -> RankedQuery:
    """Return the `top` nearest gallery images of one query.

    Leaves out the images of the query's person from the query's own camera, and junk images. If the camera is not known (-1),
    only junk images are left out. Raises DataError if no image of the person remains.
    """
    same_model(query, gallery)
    pid, camid = int(query.pids[row]), int(query.camids[row])
    ignored = (gallery.pids == pid) & (gallery.camids == camid) & (camid != -1) | (gallery.pids == -1)
    kept = np.flatnonzero(~ignored)
    indices, distances = nearest_rows(query.features[row : row + 1], gallery.features[kept], top=len(kept))
    ranked = kept[indices[0]]
    matches = gallery.pids[ranked] == pid
    if not matches.any():
        raise DataError(f"{query.paths[row]}: the gallery has no image of this person from another camera")
    hits = tuple(
        Hit(index_name(gallery.paths[index]), int(gallery.camids[index]), float(distance), bool(match))
        for index, distance, match in zip(ranked[:top], distances[0], matches)
    )
    return RankedQuery(index_name(query.paths[row]), camid, visible, int(np.argmax(matches)) + 1, hits)


def choose_queries(
    query: Features,
    gallery: Features,
    visible: NDArray[np.float64],
    precisions: NDArray[np.float64],
    *,
    top: int = TOP,
) -> list[RankedQuery]:
    """Return the rankings of the `representative_rows`, and last the worst of the other queries.

    The worst query is the one whose first match has the highest rank number; the earlier row wins a tie. `visible` and
    `precisions` are (Q,).
    """
    rankings = [rank_query(row, query, gallery, float(share), top=top) for row, share in enumerate(visible)]
    roles = representative_rows(precisions, visible)
    others = [row for row in range(len(rankings)) if row not in roles]
    if others:
        roles[max(others, key=lambda row: rankings[row].first_match)] = "worst of the others"
    return [replace(rankings[row], role=role) for row, role in roles.items()]
