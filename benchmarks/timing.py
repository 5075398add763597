"""Summarise measured times: percentiles by the rule of trtexec, and ratios between two models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.host.stopwatch import Times

PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True)
class Ratio:
    """The ratio of two models' times in each round, summarised: its `median`, and its 5th and 95th percentiles, `low` and `high`."""

    median: float
    low: float
    high: float


def percentile(values: Times, percent: float) -> float:
    """Return a percentile of `values` (n,) by the rule of trtexec, which picks one of the values and does not interpolate.

    Source: findPercentile in TensorRT's sampleReporting.cpp takes sorted[max(n - 1 - int((1 - p / 100) * n), 0)]. It computes in
    32-bit floats, and so does this function, because int() makes a difference for round numbers: (1 - 90 / 100) * 10 is 1.0000002
    in 32-bit and 0.99999... in 64-bit floats.
    """
    count = len(values)
    left_out = int((np.float32(1) - np.float32(percent) / np.float32(100)) * np.float32(count))
    return float(np.sort(values)[max(count - 1 - left_out, 0)])


def latency(wall_ms: Times) -> dict[str, float]:
    """Return {p50, p90, p95, p99, mean} of the times `wall_ms` (n,), in ms. The percentiles follow the rule of `percentile`."""
    points = {f"p{percent}": percentile(wall_ms, percent) for percent in PERCENTS}
    return points | {"mean": float(wall_ms.mean())}


def variation(values: Times) -> float:
    """Return the coefficient of variation of `values` (n,): their standard deviation divided by their mean."""
    return float(values.std() / values.mean())


def speed(base: Times, other: Times) -> Ratio | None:
    """Return how many times as fast `other` is as `base`: in each round, the time of `base` divided by that of `other`.

    `base` and `other` (n,) are the times of two models, each of which was called once in each of n rounds. Returns None if any time
    is 0, which happens with a coarse clock.
    """
    if not (base > 0).all() or not (other > 0).all():
        return None
    ratios = base / other
    return Ratio(float(np.median(ratios)), percentile(ratios, 5), percentile(ratios, 95))
