"""Choose the queries that the demo's report shows, and rank the gallery for each. Produces no HTML and runs no model."""

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
ADVICE = "restore data/anny_reid from the project's repository, then run the demo again"


@dataclass(frozen=True)
class Hit:
    """One gallery image of a ranking: its name in anny.json, 0-based camera id and cosine distance from the query (0..2).

    `match` says whether it shows the query's person.
    """

    name: str
    camid: int
    distance: float
    match: bool


@dataclass(frozen=True)
class RankedQuery:
    """A query and its nearest gallery images, `hits`, from the nearest on.

    `name` is the query's name in anny.json, `camid` its 0-based camera id, and `visible` the visible part of its person (0..1).
    `first_match` is the rank of the first image of the same person, counted from 1. `role` says why the report shows this query.
    """

    name: str
    camid: int
    visible: float
    first_match: int
    hits: tuple[Hit, ...]
    role: str = ""


def visible_shares(features: Features, index: Mapping[str, Mapping[str, float]]) -> NDArray[np.float64]:
    """Return an array (N,) with the visible part of the person in each of N images, 0..1.

    `features` has the paths of the images, and `index` maps the name of an image to its entry in anny.json. Raises DataError for an
    image that `index` lacks.
    """
    names = [index_name(path) for path in features.paths]
    if missing := [name for name in names if name not in index]:
        raise DataError(f"{missing[0]}: this image is not in anny.json; {ADVICE}")
    return np.array([index[name]["visible"] for name in names])


def representative_rows(
    precisions: NDArray[np.float64], visible: NDArray[np.float64], edges: Sequence[float] = EDGES
) -> dict[int, str]:
    """Choose two queries from each group of queries with a similar visible part of the person, from the least visible group on.

    `precisions` and `visible` (Q,) have the average precision and the visible part (0..1) of each query. Returns a dictionary that
    maps the index of each chosen query in these arrays to its role. The role is "upper quartile" or "lower quartile": the query's
    place among the average precisions of its group. `edges` are the limits of the groups in ascending order. Queries of equal
    precision are ordered by index. A group with one query gives one entry.
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
    """Rank the gallery for the query in row `row` of `query`, and return this query with its `top` nearest gallery images.

    As in the standard evaluation, junk images (pid -1) and images of the same person from the same camera are left out. If the query's
    camera is unknown (-1), only junk images are left out. `visible` (0..1) is the visible part of the person in the query, which the
    result repeats. Raises DataError if no image of the person remains, and ArtifactError for features of different models.
    """
    same_model(query, gallery)
    pid, camid = int(query.pids[row]), int(query.camids[row])
    ignored = (gallery.pids == pid) & (gallery.camids == camid) & (camid != -1) | (gallery.pids == -1)
    kept = np.flatnonzero(~ignored)
    indices, distances = nearest_rows(query.features[row : row + 1], gallery.features[kept], top=len(kept))
    ranked = kept[indices[0]]
    matches = gallery.pids[ranked] == pid
    if not matches.any():
        raise DataError(
            f"{query.paths[row]}: the gallery has no image of this person from another camera; {ADVICE}"
        )
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
    """Return the queries that the report shows, with their `top` nearest gallery images.

    They are the queries that `representative_rows` chooses, and then the worst of the other queries.
    The worst query is the one whose first match has the highest rank number, or the first of several such queries. `visible` and
    `precisions` (Q,) have the visible part and the average precision of each query.
    """
    rankings = [rank_query(row, query, gallery, float(share), top=top) for row, share in enumerate(visible)]
    roles = representative_rows(precisions, visible)
    others = [row for row in range(len(rankings)) if row not in roles]
    if others:
        roles[max(others, key=lambda row: rankings[row].first_match)] = "worst of the others"
    return [replace(rankings[row], role=role) for row, role in roles.items()]
