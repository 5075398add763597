"""The timer, on clocks that the tests wind themselves: no test here looks at a real time."""

from __future__ import annotations

import gc
from collections import Counter

import pytest

from runtime.host.stopwatch import MIN_ROUNDS, interleave


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


def test_without_callables_there_is_nothing_to_time() -> None:
    assert interleave([], seconds=1) == []
