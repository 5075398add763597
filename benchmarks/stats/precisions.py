"""Compute the average precision of each query, and its mean over groups of queries. Runs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from runtime.features import Features, same_model
from runtime.ranking.metrics import evaluate

# The limits between the groups. In every query of Anny-ReID, 40 to 80 % of the person are visible.
EDGES = (0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Group:
    """The mean average precision of a group of queries that show a similar fraction of the person.

    In these queries, the visible fraction of the person is between `low` and `high` (0..1). `queries` is their number. `precision` is
    the mean of their average precisions (0..1), and `error` is its standard error, which is nan for a single query.
    """

    low: float
    high: float
    queries: int
    precision: float
    error: float


def index_name(path: str) -> str:
    """Return the folder and file name of the image at `path`, which is its key in anny.json, the index of the data set Anny-ReID.

    For example, it is `query/7001_c2s1_001000_00.jpg` for `data/anny_reid/query/7001_c2s1_001000_00.jpg`.
    """
    return "/".join(PurePath(path).parts[-2:])


def average_precisions(query: Features, gallery: Features) -> NDArray[np.float64]:
    """Return (Q,) the average precision of every query, 0..1. The mean of these is the mAP of `runtime.ranking.metrics.evaluate`.

    Raises DataError if a query has no match in the gallery, and ArtifactError if `query` and `gallery` come from different models.
    """
    same_model(query, gallery)
    precisions = [
        evaluate(
            query.features[row : row + 1],
            query.pids[row : row + 1],
            query.camids[row : row + 1],
            gallery.features,
            gallery.pids,
            gallery.camids,
        ).mAP
        for row in range(len(query.pids))
    ]
    return np.array(precisions)


def group_by_visibility(
    precisions: NDArray[np.float64], visible: NDArray[np.float64], edges: Sequence[float] = EDGES
) -> list[Group]:
    """Group queries by the fraction of the person that is visible, and return the groups that have at least one query.

    `precisions` (Q,) are the average precisions of the queries, and `visible` (Q,) the visible fractions, both 0..1. A group has the
    queries with low <= visible < high, where low and high are two consecutive `edges`. The last group also has the queries with
    visible = high.
    """
    groups = []
    for low, high in zip(edges, edges[1:]):
        members = in_range(visible, low, high, edges[-1])
        if members.any():
            groups.append(as_group(precisions[members], low, high))
    return groups


def as_group(precisions: NDArray[np.float64], low: float, high: float) -> Group:
    """Return the group of n queries with the average precisions `precisions` (n,). `low` and `high` limit their visible fractions."""
    count = len(precisions)
    error = float(precisions.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    return Group(low, high, count, float(precisions.mean()), error)


def in_range(visible: NDArray[np.float64], low: float, high: float, end: float) -> NDArray[np.bool_]:
    """Return an array (n,) that is True where low <= visible < high. If `high` equals `end`, it is True for visible = high too."""
    return np.asarray((visible >= low) & (visible <= high if high == end else visible < high))
