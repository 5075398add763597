"""Interleaved timing and its statistics. Pure but for the clock; knows no models."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# An interleaved series with a larger coefficient of variation than this is called unstable.
UNSTABLE = 0.05


@dataclass(frozen=True)
class Series:
    """One candidate's times, a pair a round: wall-clock and process CPU seconds."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def percentile(values: Sequence[float], percent: float) -> float:
    """trtexec's rule: sorted[max(n - 1 - int((1 - p / 100) * n), 0)], no interpolation."""
    ordered = sorted(values)
    # the epsilon keeps 0.1 * 10 from being 0.99..
    beyond = int((100 - percent) * len(ordered) / 100 + 1e-9)
    return ordered[max(len(ordered) - 1 - beyond, 0)]


def interleave(
    candidates: Sequence[Callable[[int], None]],
    *,
    rounds: int,
    warmup: int,
    seconds: float = float("inf"),
    minimum: int = 10,
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> list[Series]:
    """Call every candidate once a round, so that what the machine does meanwhile hits all of them alike.

    A candidate gets the round's number (`warmup` untimed rounds count down to -1). Stops after `rounds`, or after `seconds` once
    `minimum` rounds are done. The order turns by one place a round: none always follows the same one.
    """
    for number in range(-warmup, 0):
        for candidate in candidates:
            candidate(number)
    wall: list[list[float]] = [[] for _ in candidates]
    cpu: list[list[float]] = [[] for _ in candidates]
    begun = clock()
    for number in range(rounds):
        if number >= minimum and clock() - begun > seconds:
            break
        for place in range(len(candidates)):
            index = (place + number) % len(candidates)
            started, cpu_started = clock(), cpu_clock()
            candidates[index](number)
            wall[index].append(clock() - started)
            cpu[index].append(cpu_clock() - cpu_started)
    return [Series(tuple(w), tuple(c)) for w, c in zip(wall, cpu)]


def latency_ms(series: Series) -> dict[str, float]:
    """{p50, p90, p95, p99, mean} of the wall-clock times, in milliseconds."""
    values = {f"p{p}": percentile(series.wall, p) * 1e3 for p in (50, 90, 95, 99)}
    return values | {"mean": float(np.mean(series.wall)) * 1e3}


def variation(series: Series) -> float:
    """Coefficient of variation of the wall-clock times."""
    return float(np.std(series.wall) / np.mean(series.wall))


def ratio(base: Series, other: Series) -> dict[str, float]:
    """How many times faster `other` is than `base`: {median, p5, p95} of the rounds' ratios, and cpu (median, CPU seconds)."""
    wall = np.array(base.wall) / np.array(other.wall)
    # a process clock may tick more coarsely than a tiny model runs
    busy = np.array(other.cpu) > 0
    cpu = np.array(base.cpu)[busy] / np.array(other.cpu)[busy]
    return {
        "median": float(np.median(wall)),
        "p5": float(np.percentile(wall, 5)),
        "p95": float(np.percentile(wall, 95)),
        "cpu": float(np.median(cpu)) if len(cpu) else float("nan"),
    }
