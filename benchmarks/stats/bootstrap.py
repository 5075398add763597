"""Is one method's mAP another's, or do the queries that happened to be asked decide? A paired bootstrap over queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.stats.precisions import average_precisions
from runtime.datasets import Dataset
from runtime.datasets.cameras import camera_ids
from runtime.errors import ConfigError
from runtime.extraction.extract import extract
from runtime.opening import open_artifact

RESAMPLES = 10_000
LEVEL = 0.95


def query_precisions(model: Path, dataset: Dataset, *, batch: int = 32) -> NDArray[np.float64]:
    """(Q,) average precision of every query, 0..1, by the exported model; DataError where a picture cannot be used."""
    artifact = open_artifact(model)
    sides = []
    for items in (dataset.query, dataset.gallery):
        ids, _ = camera_ids([item.camid for item in items], artifact.spec, dataset=dataset.layout)
        # a query that is left out would shift all that follow against another model's
        sides.append(
            extract(artifact, items, batch=artifact.spec.batch or batch, camera_ids=ids, max_bad=0.0)
        )
    return average_precisions(*sides)


def difference(
    first: Sequence[NDArray[np.float64]], other: Sequence[NDArray[np.float64]]
) -> dict[str, float]:
    """{difference, low, high}: how much higher the mAP of `other` is than that of `first`, and its 95 % interval.

    Each is (Q,) precisions of the same queries, one array a seed: seeds are averaged query by query, queries are drawn with
    replacement (seeded). ConfigError when they are not the same queries.
    """
    if len({len(one) for one in (*first, *other)}) != 1:
        raise ConfigError("the models were asked different numbers of queries; evaluate them on one data set")
    gain = np.mean(other, axis=0) - np.mean(first, axis=0)
    random = np.random.default_rng(0)
    means = gain[random.integers(0, len(gain), (RESAMPLES, len(gain)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"difference": float(gain.mean()), "low": float(low), "high": float(high)}
