"""The scores that the comparison computes from a model's features. Runs no model and prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.stats.precisions import group_by_visibility
from runtime.ranking.metrics import evaluate


@dataclass(frozen=True)
class FeatureSet:
    """Features (N, D) float32, L2-normalised, with the person ids and the 0-based camera ids (N,) of their images."""

    features: NDArray[np.float32]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]

    def rows(self, selection: Any) -> FeatureSet:
        """Return the rows that `selection`, an index, slice or mask, selects."""
        return FeatureSet(self.features[selection], self.pids[selection], self.camids[selection])


def summary(query: FeatureSet, gallery: FeatureSet) -> dict[str, Any]:
    """Return {mAP, R1, queries}, with mAP and R1 in 0..1."""
    arrays = (query.features, query.pids, query.camids, gallery.features, gallery.pids, gallery.camids)
    scores = evaluate(*arrays).to_json()
    return {name: scores[name] for name in ("mAP", "R1", "queries")}


def per_query_scores(
    query: FeatureSet, gallery: FeatureSet
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the average precision of every query and whether its first match is right (1 or 0), both (Q,).

    Every query needs a match in the gallery.
    """
    scores = [summary(query.rows(slice(row, row + 1)), gallery) for row in range(len(query.pids))]
    return np.array([score["mAP"] for score in scores]), np.array([score["R1"] for score in scores])


def own_scores(
    query: FeatureSet, unoccluded: FeatureSet, gallery: FeatureSet, visible: NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    """Return {query, twins} of {mAP, R1, queries, precisions (Q,)} on the data set that the study prunes on.

    Row n of `unoccluded` shows the person of row n of `query` with nothing in front; its scores have the key `twins`. The
    scores of `query` are also group_by_visibility by the visible share of the person, `visible` (Q,).
    """
    scores: dict[str, dict[str, Any]] = {}
    for name, features in (("query", query), ("twins", unoccluded)):
        precisions, first_right = per_query_scores(features, gallery)
        scores[name] = {
            "mAP": float(precisions.mean()),
            "R1": float(first_right.mean()),
            "queries": len(precisions),
            "precisions": [round(float(value), 6) for value in precisions],
        }
        if features is query:
            groups = zip(group_by_visibility(precisions, visible), group_by_visibility(first_right, visible))
            scores[name]["visible"] = [
                {
                    "low": ap.low,
                    "high": ap.high,
                    "queries": ap.queries,
                    "mAP": ap.precision,
                    "R1": r1.precision,
                }
                for ap, r1 in groups
            ]
    return scores


def other_scores(
    features: FeatureSet, query: NDArray[np.bool_], gallery: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the zero-shot scores {test, all} on another data set.

    `test` scores the query split against the gallery split; the masks `query` and `gallery` (N,) mark the two. `all` scores every
    image of camera 0 against every image of camera 1, and exists only if the data set has two cameras.
    """
    scores = {"test": summary(features.rows(query), features.rows(gallery))}
    if set(np.unique(features.camids).tolist()) == {0, 1}:
        scores["all"] = summary(features.rows(features.camids == 0), features.rows(features.camids == 1))
    return scores
