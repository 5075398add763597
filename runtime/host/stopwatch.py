"""Time several functions on this machine in rounds. Each round calls every function once."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# trtexec's defaults: 200 ms of warm-up, and at least 10 rounds of measurement.
WARMUP_S = 0.2
MIN_ROUNDS = 10

# A function to time. It gets the number of the round, from 0.
Call = Callable[[int], object]
Clock = Callable[[], float]
Times = NDArray[np.float64]
# (wall ms, CPU ms) of each function in one round
Round = list[tuple[float, float]]


@dataclass(frozen=True)
class Samples:
    """The times of one function in each round, (rounds,) float64 in ms: `wall_ms`, and `cpu_ms` summed over all threads."""

    wall_ms: Times
    cpu_ms: Times


def interleave(
    calls: Sequence[Call],
    *,
    rounds: int | None = None,
    seconds: float = 0.0,
    warmup_s: float = WARMUP_S,
    clocks: tuple[Clock, Clock] = (time.perf_counter, time.process_time),
    kept: list[Round] | None = None,
) -> list[Samples]:
    """Call every function in `calls` once per round, and return one Samples with its times for each function, in their order.

    The argument of each call is the number of the round, from 0. The order of the functions changes in each round, from a fixed
    seed, so that drift of the machine affects all functions alike. Before the first round, each function is called for `warmup_s`
    seconds, at least once, with the arguments 0, 1, 2, ... `rounds` is the number of rounds. If it is None, the rounds go on until
    there are MIN_ROUNDS of them and they have lasted `seconds` x len(calls) seconds.

    `clocks` are two functions that return the wall and the CPU time in seconds. Each finished round is appended to the list `kept`, if
    given; a caller that is interrupted can pass this list to `samples_of`.
    """
    wall, _ = clocks
    for call in calls:
        _warm_up(call, warmup_s, wall)
    order = random.Random(0)
    times: list[Round] = [] if kept is None else kept
    # A garbage collection within a call would count as the model's time.
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
    """Return one Samples for each function, from one or more `rounds`; each lists one (wall ms, CPU ms) per function."""
    table = np.array(rounds, np.float64)
    return [Samples(table[:, index, 0], table[:, index, 1]) for index in range(table.shape[1])]


def _warm_up(call: Call, seconds: float, wall: Clock) -> None:
    started, turn = wall(), 0
    while turn == 0 or wall() - started < seconds:
        call(turn)
        turn += 1


def _enough(done: int, rounds: int | None, elapsed_s: float, wanted_s: float) -> bool:
    if rounds is not None:
        return done >= rounds
    return done >= MIN_ROUNDS and elapsed_s >= wanted_s


def _timed(call: Call, turn: int, clocks: tuple[Clock, Clock]) -> tuple[float, float]:
    """Return (wall ms, CPU ms) of one call."""
    wall, cpu = clocks
    cpu_before, wall_before = cpu(), wall()
    call(turn)
    wall_after, cpu_after = wall(), cpu()
    return 1000 * (wall_after - wall_before), 1000 * (cpu_after - cpu_before)
