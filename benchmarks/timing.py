"""Sum times up: percentiles as trtexec prints them, and ratios of times. Knows nothing of models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.host.stopwatch import Times

PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True)
class Ratio:
    """Median over rounds of one time divided by another of the same round, and its 5 % and 95 % points."""

    median: float
    low: float
    high: float


def percentile(values: Times, percent: float) -> float:
    """The `percent` point of `values` (n,) as trtexec has it: one of the values, never between two of them.

    Source: findPercentile in TensorRT's sampleReporting.cpp: sorted[max(n - 1 - int((1 - p / 100) n), 0)] in
    32-bit floats, which decide for round numbers: (1 - 90 / 100) 10 is 1.0000002 there, 0.99999... in 64 bits.
    """
    count = len(values)
    left_out = int((np.float32(1) - np.float32(percent) / np.float32(100)) * np.float32(count))
    return float(np.sort(values)[max(count - 1 - left_out, 0)])


def latency(wall_ms: Times) -> dict[str, float]:
    """{p50, p90, p95, p99, mean} in ms; the percentiles by `percentile`."""
    points = {f"p{percent}": percentile(wall_ms, percent) for percent in PERCENTS}
    return points | {"mean": float(wall_ms.mean())}


def variation(values: Times) -> float:
    """The coefficient of variation: standard deviation over mean."""
    return float(values.std() / values.mean())


def speed(base: Times, other: Times) -> Ratio | None:
    """How many times faster `other` is than `base`, round by round; None where a clock read no time at all."""
    if not (base > 0).all() or not (other > 0).all():
        return None
    ratios = base / other
    return Ratio(float(np.median(ratios)), percentile(ratios, 5), percentile(ratios, 95))
