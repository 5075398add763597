"""The timer of bench.py, on clocks that the tests wind themselves: no test here looks at a real time."""

from __future__ import annotations

import gc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.timing import MIN_ROUNDS, interleave, latency, percentile, speed, variation


class Stage:
    """Callables that advance two clocks by set amounts, and a record of who was called when."""

    def __init__(self, *costs: tuple[float, float]) -> None:
        self.wall = self.cpu = 0.0
        self.called: list[tuple[int, int]] = []
        self.calls = [self._call(index, *cost) for index, cost in enumerate(costs)]

    def _call(self, index: int, wall: float, cpu: float):
        def call(turn: int) -> None:
            self.called.append((index, turn))
            self.wall += wall
            self.cpu += cpu

        return call

    @property
    def clocks(self):
        return (lambda: self.wall), (lambda: self.cpu)


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
    found = percentile(np.array(values), percent)
    assert found in values
    below, upto = sum(value < found for value in values), sum(value <= found for value in values)
    exact = percent / 100 * len(values)
    assert below <= exact + 1 and upto >= exact - 1


def test_latency_holds_the_contract_keys_in_order() -> None:
    found = latency(np.arange(1.0, 201.0))
    assert found == {"p50": 100, "p90": 180, "p95": 190, "p99": 199, "mean": 100.5}


def test_each_callable_gets_its_own_wall_and_cpu_time() -> None:
    stage = Stage((0.25, 0.5), (0.125, 0.0625))
    first, second = interleave(stage.calls, rounds=4, warmup_s=0, clocks=stage.clocks)
    assert first.wall_ms.tolist() == [250] * 4 and first.cpu_ms.tolist() == [500] * 4
    assert second.wall_ms.tolist() == [125] * 4 and second.cpu_ms.tolist() == [62.5] * 4


def test_every_round_calls_everyone_once_in_changing_order() -> None:
    stage = Stage(*[(1, 1)] * 3)
    interleave(stage.calls, rounds=60, warmup_s=0, clocks=stage.clocks)
    measured = stage.called[3:]
    rounds = [measured[start : start + 3] for start in range(0, len(measured), 3)]
    assert len(rounds) == 60
    for turn, calls in enumerate(rounds):
        assert sorted(calls) == [(index, turn) for index in range(3)]
    orders = Counter(tuple(index for index, _ in calls) for calls in rounds)
    assert len(orders) == 6, "all orders of three occur, so no one always follows the same one"


def test_two_runs_use_the_same_orders() -> None:
    stages = [Stage((1, 1), (2, 2)) for _ in range(2)]
    for stage in stages:
        interleave(stage.calls, rounds=20, warmup_s=0, clocks=stage.clocks)
    assert stages[0].called == stages[1].called


def test_warm_up_runs_before_any_measurement_and_is_not_counted() -> None:
    stage = Stage((0.05, 0.05), (1.0, 1.0))
    samples = interleave(stage.calls, rounds=2, warmup_s=0.2, clocks=stage.clocks)
    warm = stage.called[:-4]
    assert [index for index, _ in warm] in ([0] * 4 + [1], [0] * 5 + [1])  # 0.05 is not exact
    assert all(len(sample.wall_ms) == 2 for sample in samples)


def test_seconds_are_a_budget_for_each_callable() -> None:
    stage = Stage((0.25, 1), (0.75, 1))
    first, _ = interleave(stage.calls, seconds=10, warmup_s=0, clocks=stage.clocks)
    assert len(first.wall_ms) == 20


def test_a_slow_callable_still_gets_ten_rounds() -> None:
    stage = Stage((100, 100))
    (only,) = interleave(stage.calls, seconds=1, warmup_s=0, clocks=stage.clocks)
    assert len(only.wall_ms) == MIN_ROUNDS == 10


def test_no_garbage_collection_while_timing_and_again_afterwards() -> None:
    seen = []
    interleave([lambda turn: seen.append(gc.isenabled())], rounds=3, warmup_s=0)
    assert seen[-3:] == [False] * 3 and gc.isenabled()

    def fail(turn: int) -> None:
        if turn:
            raise ValueError

    with pytest.raises(ValueError):
        interleave([fail], rounds=3, warmup_s=0)
    assert gc.isenabled(), "also after a failure"


def test_drift_that_slows_everyone_leaves_the_ratio_alone() -> None:
    drift = np.linspace(1, 5, 50)
    found = speed(20 * drift, 10 * drift)
    assert found is not None and (found.median, found.low, found.high) == (2, 2, 2)


def test_the_spread_of_a_ratio_covers_the_rounds_but_for_the_outliers() -> None:
    base = np.full(101, 30.0)
    other = np.full(101, 10.0)
    other[:3], other[3:30], other[-3:], other[-30:-3] = 0.1, 5, 1000, 20
    found = speed(base, other)
    assert found is not None and (found.low, found.median, found.high) == (1.5, 3, 6)


def test_a_clock_too_coarse_to_see_a_call_gives_no_ratio() -> None:
    assert speed(np.array([1.0, 2.0]), np.array([1.0, 0.0])) is None
    assert speed(np.array([0.0, 2.0]), np.array([1.0, 1.0])) is None


def test_variation_is_standard_deviation_over_mean() -> None:
    assert variation(np.array([9.0, 11.0])) == pytest.approx(0.1)
    assert variation(np.array([7.0, 7.0])) == 0
