"""Compute the scores of the study from a model's features. Runs no model and prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.stats.precisions import group_by_visibility
from runtime.ranking.metrics import evaluate


@dataclass(frozen=True)
class FeatureSet:
    """The features (N, D) float32 of N images, normalised to length 1, with the person ids and 0-based camera ids (N,)."""

    features: NDArray[np.float32]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]

    def rows(self, selection: Any) -> FeatureSet:
        """Return the features, person ids and camera ids of the rows that `selection` selects: a slice, mask or index array."""
        return FeatureSet(self.features[selection], self.pids[selection], self.camids[selection])


def summary(query: FeatureSet, gallery: FeatureSet) -> dict[str, Any]:
    """Score the features `query` against the features `gallery`.

    Returns {mAP, R1, queries}: mAP and R1 are in 0..1, and `queries` is the number of queries that were scored.
    """
    arrays = (query.features, query.pids, query.camids, gallery.features, gallery.pids, gallery.camids)
    scores = evaluate(*arrays).to_json()
    return {name: scores[name] for name in ("mAP", "R1", "queries")}


def per_query_scores(
    query: FeatureSet, gallery: FeatureSet
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two arrays (Q,): the average precision of each query (0..1), and 1 or 0 for whether its nearest image is a match.

    Each query must have a match in the gallery: an image of the same person from another camera.
    """
    scores = [summary(query.rows(slice(row, row + 1)), gallery) for row in range(len(query.pids))]
    return np.array([score["mAP"] for score in scores]), np.array([score["R1"] for score in scores])


def own_scores(
    query: FeatureSet, unoccluded: FeatureSet, gallery: FeatureSet, visible: NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    """Return the scores {query, twins} on Anny-ReID, each {mAP, R1, queries, precisions (Q,)}.

    Row n of the argument `unoccluded` shows the person in row n of the argument `query` with nothing in front. `visible` (Q,) is the
    visible fraction (0..1) of the person in each query. In the result, "query" has the scores of the occluded queries, and "twins"
    those of their unoccluded pairs. "query" also has the key "visible": a list with {low, high, queries, mAP, R1} for each group of
    queries whose visible fraction is between `low` and `high`.
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
    """Return the scores {test, all} on a data set that the models were not trained on.

    `features` has N images, and the masks `query` and `gallery` (N,) mark the two splits. `test` scores the queries against the
    gallery. `all` scores all images of camera 0 against all images of camera 1, and exists only if the data set has just these two
    cameras.
    """
    scores = {"test": summary(features.rows(query), features.rows(gallery))}
    if set(np.unique(features.camids).tolist()) == {0, 1}:
        scores["all"] = summary(features.rows(features.camids == 0), features.rows(features.camids == 1))
    return scores
