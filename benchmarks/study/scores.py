"""What the comparison measures of a model's features. Runs no model and prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.stats.precisions import grouped
from runtime.ranking.metrics import evaluate


@dataclass(frozen=True)
class Side:
    """Features (N, D) float32 L2-normalised, pids and 0-based camids (N,)."""

    features: NDArray[np.float32]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]

    def rows(self, chosen: Any) -> Side:
        """The rows that `chosen`, an index or a mask, names."""
        return Side(self.features[chosen], self.pids[chosen], self.camids[chosen])


def summary(query: Side, gallery: Side) -> dict[str, Any]:
    """{mAP, R1 (0..1), queries}."""
    sides = (query.features, query.pids, query.camids, gallery.features, gallery.pids, gallery.camids)
    found = evaluate(*sides).to_json()
    return {name: found[name] for name in ("mAP", "R1", "queries")}


def each(query: Side, gallery: Side) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((Q,) average precisions, (Q,) whether the first match is right) of every query alone; every one needs a match."""
    found = [summary(query.rows(slice(row, row + 1)), gallery) for row in range(len(query.pids))]
    return np.array([one["mAP"] for one in found]), np.array([one["R1"] for one in found])


def own_scores(
    query: Side, twins: Side, gallery: Side, visible: NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    """{query, twins} of {mAP, R1, queries, precisions (Q,)}; `query` also by visible share (Q,).

    Row n of `twins` is row n of `query` without what hides it.
    """
    out: dict[str, dict[str, Any]] = {}
    for name, side in (("query", query), ("twins", twins)):
        precisions, firsts = each(side, gallery)
        out[name] = {
            "mAP": float(precisions.mean()),
            "R1": float(firsts.mean()),
            "queries": len(precisions),
            "precisions": [round(float(value), 6) for value in precisions],
        }
        if side is query:
            pairs = zip(grouped(precisions, visible), grouped(firsts, visible))
            out[name]["visible"] = [
                {
                    "low": ap.low,
                    "high": ap.high,
                    "queries": ap.queries,
                    "mAP": ap.precision,
                    "R1": r1.precision,
                }
                for ap, r1 in pairs
            ]
    return out


def other_scores(found: Side, query: NDArray[np.bool_], gallery: NDArray[np.bool_]) -> dict[str, Any]:
    """{test, all} on people never seen: the query split against the gallery, and every picture of camera 0 against camera 1.

    `query` and `gallery` (N,) mark the splits; `all` only where the set has two cameras.
    """
    out = {"test": summary(found.rows(query), found.rows(gallery))}
    if set(np.unique(found.camids).tolist()) == {0, 1}:
        out["all"] = summary(found.rows(found.camids == 0), found.rows(found.camids == 1))
    return out
