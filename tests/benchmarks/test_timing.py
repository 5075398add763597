"""Sums of times: percentiles against those of trtexec, ratios and variation by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.timing import latency, percentile, speed, variation

# What TensorRT's findPercentile returns (compiled from its formula) for the sorted values 0 .. n - 1.
# In 64-bit floats (10, 90), (100, 99), (200, 99), (1000, 99) and (1000, 90) would be 9, 98, 197, 989 and 900.
TRTEXEC = [
    (1, 50, 0), (2, 50, 0), (6, 50, 2), (7, 50, 3), (10, 50, 4), (10, 90, 8), (10, 95, 9), (10, 99, 9),
    (19, 95, 18), (20, 95, 18), (99, 99, 98), (100, 99, 99), (101, 99, 99), (200, 99, 198), (1000, 99, 990),
    (1000, 95, 949), (1000, 90, 899), (7, 0, 0), (7, 100, 6),
]  # fmt: skip


@pytest.mark.parametrize(("count", "percent", "place"), TRTEXEC)
def test_percentile_is_the_one_trtexec_prints(count: int, percent: float, place: int) -> None:
    shuffled = np.random.default_rng(count).permutation(count).astype(np.float64)
    assert percentile(shuffled, percent) == place


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300), st.sampled_from([5, 50, 90, 95, 99]))
def test_percentile_is_a_measured_value_within_one_place_of_its_rank(
    values: list[float], percent: int
) -> None:
    percentile_value = percentile(np.array(values), percent)
    assert percentile_value in values
    below, upto = (
        sum(value < percentile_value for value in values),
        sum(value <= percentile_value for value in values),
    )
    exact = percent / 100 * len(values)
    assert below <= exact + 1 and upto >= exact - 1


def test_latency_holds_the_contract_keys_in_order() -> None:
    summary = latency(np.arange(1.0, 201.0))
    assert summary == {"p50": 100, "p90": 180, "p95": 190, "p99": 199, "mean": 100.5}


def test_drift_that_slows_everyone_leaves_the_ratio_alone() -> None:
    drift = np.linspace(1, 5, 50)
    ratio = speed(20 * drift, 10 * drift)
    assert ratio is not None and (ratio.median, ratio.low, ratio.high) == (2, 2, 2)


def test_the_spread_of_a_ratio_covers_the_rounds_but_for_the_outliers() -> None:
    base = np.full(101, 30.0)
    other = np.full(101, 10.0)
    other[:3], other[3:30], other[-3:], other[-30:-3] = 0.1, 5, 1000, 20
    ratio = speed(base, other)
    assert ratio is not None and (ratio.low, ratio.median, ratio.high) == (1.5, 3, 6)


def test_a_clock_too_coarse_to_see_a_call_gives_no_ratio() -> None:
    assert speed(np.array([1.0, 2.0]), np.array([1.0, 0.0])) is None
    assert speed(np.array([0.0, 2.0]), np.array([1.0, 1.0])) is None


def test_variation_is_standard_deviation_over_mean() -> None:
    assert variation(np.array([9.0, 11.0])) == pytest.approx(0.1)
    assert variation(np.array([7.0, 7.0])) == 0
