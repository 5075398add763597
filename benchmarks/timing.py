"""Time callables side by side and sum the times up. Knows nothing of models."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERCENTS = (50, 90, 95, 99)
# trtexec's defaults: 200 ms of warm-up, 3 s and at least 10 rounds of measurement.
WARMUP_S = 0.2
SECONDS = 3.0
MIN_ROUNDS = 10

Times = NDArray[np.float64]
Clock = Callable[[], float]
# (wall ms, CPU ms) of each call
Round = list[tuple[float, float]]


@dataclass(frozen=True)
class Samples:
    """One callable's time in every round: `wall_ms` and `cpu_ms` (rounds,), the latter over all its threads."""

    wall_ms: Times
    cpu_ms: Times


@dataclass(frozen=True)
class Ratio:
    """Median over rounds of one time divided by another of the same round, and its 5 % and 95 % points."""

    median: float
    low: float
    high: float


def interleave(
    calls: Sequence[Callable[[int], object]],
    *,
    rounds: int | None = None,
    seconds: float = SECONDS,
    warmup_s: float = WARMUP_S,
    clocks: tuple[Clock, Clock] = (time.perf_counter, time.process_time),
    kept: list[Round] | None = None,
) -> list[Samples]:
    """Every call once a round, in a new (seeded) order each round, so that drift of the machine hits all alike.

    A call gets the number of the round. `rounds` None: at least 10, and until `seconds` per call have gone.
    Before that each call warms up for `warmup_s`, at least once. `clocks` give wall and CPU seconds. Every finished round is added to
    `kept`, for a caller that is stopped in between (`samples_of`).
    """
    wall, _ = clocks
    for call in calls:
        _warm_up(call, warmup_s, wall)
    order = random.Random(0)
    times: list[Round] = [] if kept is None else kept
    # A collection in the middle of a call would be counted as the model's time.
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        started = wall()
        while not _enough(len(times), rounds, wall() - started, seconds * len(calls)):
            row = [(0.0, 0.0)] * len(calls)
            for index in order.sample(range(len(calls)), len(calls)):
                row[index] = _timed(calls[index], len(times), clocks)
            times.append(row)
    finally:
        if collecting:
            gc.enable()
    return samples_of(times)


def samples_of(rounds: Sequence[Round]) -> list[Samples]:
    """The times of each call, from one round or more."""
    table = np.array(rounds, np.float64)
    return [Samples(table[:, index, 0], table[:, index, 1]) for index in range(table.shape[1])]


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


def _warm_up(call: Callable[[int], object], seconds: float, wall: Clock) -> None:
    started, turn = wall(), 0
    while turn == 0 or wall() - started < seconds:
        call(turn)
        turn += 1


def _enough(done: int, rounds: int | None, elapsed_s: float, wanted_s: float) -> bool:
    if rounds is not None:
        return done >= rounds
    return done >= MIN_ROUNDS and elapsed_s >= wanted_s


def _timed(call: Callable[[int], object], turn: int, clocks: tuple[Clock, Clock]) -> tuple[float, float]:
    """(wall ms, CPU ms) of one call."""
    wall, cpu = clocks
    cpu_before, wall_before = cpu(), wall()
    call(turn)
    wall_after, cpu_after = wall(), cpu()
    return 1000 * (wall_after - wall_before), 1000 * (cpu_after - cpu_before)
