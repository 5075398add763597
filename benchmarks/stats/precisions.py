"""Average precision query by query, and for groups of queries. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from runtime.features import Features, same_model
from runtime.ranking.metrics import evaluate

# The visible shares of Anny-ReID's queries, in tenths: a query is never hidden by more than 60 %, always by 20 %.
EDGES = (0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Group:
    """Queries taken together: mean average precision (0..1) and its standard error (0..1; nan for one query)."""

    low: float
    high: float
    queries: int
    precision: float
    error: float


def name_of(path: str) -> str:
    """`data/anny_reid/query/7001_c2s1_001000_00.jpg` -> `query/7001_c2s1_001000_00.jpg`, as in anny.json."""
    return "/".join(PurePath(path).parts[-2:])


def average_precisions(query: Features, gallery: Features) -> NDArray[np.float64]:
    """(Q,) average precision of every query alone, 0..1; their mean is `runtime.ranking.metrics.evaluate`'s mAP.

    DataError when a query has no match, ArtifactError for features of two models.
    """
    same_model(query, gallery)
    found = [
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
    return np.array(found)


def grouped(
    precisions: NDArray[np.float64], visible: NDArray[np.float64], edges: Sequence[float] = EDGES
) -> list[Group]:
    """The groups low <= visible < high between neighbouring `edges` that hold a query; the last one includes its end."""
    found = []
    for low, high in zip(edges, edges[1:]):
        inside = _inside(visible, low, high, edges[-1])
        if inside.any():
            found.append(summed(precisions[inside], low, high))
    return found


def summed(precisions: NDArray[np.float64], low: float, high: float) -> Group:
    """All of `precisions` (n,) as one group."""
    count = len(precisions)
    error = float(precisions.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    return Group(low, high, count, float(precisions.mean()), error)


def _inside(visible: NDArray[np.float64], low: float, high: float, end: float) -> NDArray[np.bool_]:
    return np.asarray((visible >= low) & (visible <= high if high == end else visible < high))
