"""Compare the mAP of two methods by a paired bootstrap over the queries."""

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
    """Extract features with the exported model at `model`, and return the average precision (0..1) of every query of `dataset`, (Q,).

    Features are extracted in batches of `batch` images, unless the model has a fixed batch size. Raises DataError if an image cannot
    be used.
    """
    artifact = open_artifact(model)
    sides = []
    for items in (dataset.query, dataset.gallery):
        ids, _ = camera_ids([item.camid for item in items], artifact.spec, dataset=dataset.layout)
        # No image may be skipped: the rows of two models are compared query by query.
        sides.append(
            extract(artifact, items, batch=artifact.spec.batch or batch, camera_ids=ids, max_bad=0.0)
        )
    return average_precisions(*sides)


def paired_difference(
    first: Sequence[NDArray[np.float64]], other: Sequence[NDArray[np.float64]]
) -> dict[str, float]:
    """Return {difference, low, high}: the mAP (0..1) of `other` minus that of `first`, and its 95 % interval.

    Each argument has one array (Q,) of average precisions for each training seed of a method. The arrays of a method are averaged
    query by query. Then the queries are resampled with replacement RESAMPLES times, with a fixed random seed. Raises ConfigError if
    the arrays differ in length.
    """
    if len({len(precisions) for precisions in (*first, *other)}) != 1:
        raise ConfigError("the models have different numbers of queries; evaluate them on the same data set")
    gain = np.mean(other, axis=0) - np.mean(first, axis=0)
    random = np.random.default_rng(0)
    means = gain[random.integers(0, len(gain), (RESAMPLES, len(gain)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"difference": float(gain.mean()), "low": float(low), "high": float(high)}
