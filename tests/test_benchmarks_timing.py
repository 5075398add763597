"""Timing statistics on made-up clocks."""

import pytest

from benchmarks.memory import peak_mib
from benchmarks.timing import Series, interleave, latency_ms, percentile, ratio, variation


@pytest.mark.parametrize(
    ("count", "percent", "place"),
    [(100, 99, 98), (100, 50, 49), (10, 90, 8), (10, 99, 9), (1, 50, 0), (3, 95, 2), (1000, 95, 949)],
)
def test_percentiles_follow_trtexec(count, percent, place):
    """sorted[max(n - 1 - int((1 - p / 100) * n), 0)], no interpolation."""
    values = [float(index) for index in reversed(range(count))]
    assert percentile(values, percent) == place


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def runner(clock, seconds, log, name):
    def run(number):
        log.append((name, number))
        clock.now += seconds

    return run


def test_candidates_alternate_and_the_order_turns():
    clock, log = Clock(), []
    calls = [runner(clock, cost, log, name) for name, cost in (("a", 1), ("b", 2), ("c", 4))]
    series = interleave(calls, rounds=3, warmup=1, clock=clock, cpu_clock=clock)
    assert [name for name, _ in log] == ["a", "b", "c", "a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert [number for _, number in log[:3]] == [-1, -1, -1]
    assert [one.wall for one in series] == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]


def test_time_limit_counts_only_after_the_minimum():
    clock = Clock()
    (series,) = interleave(
        [runner(clock, 1, [], "a")], rounds=100, warmup=0, seconds=0, minimum=7, clock=clock, cpu_clock=clock
    )
    assert len(series.wall) == 7


def test_ratios_are_paired_by_round():
    """A slowdown that hits both in one round leaves the ratio alone."""
    base = Series((2.0, 20.0, 2.0), (2.0, 2.0, 2.0))
    other = Series((1.0, 10.0, 1.0), (1.0, 1.0, 1.0))
    assert ratio(base, other)["median"] == ratio(base, other)["p95"] == 2
    assert ratio(base, other)["cpu"] == 2
    assert variation(Series((1.0, 1.0), ())) == 0
    assert latency_ms(Series((0.001, 0.003), ()))["mean"] == pytest.approx(2)


def test_high_water_mark_is_read_from_proc():
    assert peak_mib("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\n") == 2
    assert peak_mib("") != peak_mib("")
