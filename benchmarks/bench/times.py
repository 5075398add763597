"""Times of models at one batch size, with what they computed meanwhile, and the numbers made of them. Opens no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import timing
from benchmarks.inputs import Crops, Feed, feeds
from benchmarks.stats.interval import interval
from runtime.artifact import Artifact
from runtime.host import stopwatch
from runtime.stopping import Stopped, stopped

# One engine gives the same features twice but for the order of a parallel sum.
SAME = 1e-5


@dataclass(frozen=True)
class Timed:
    """One model at one batch size: its times, and by feed the features of the last timed call on it."""

    samples: stopwatch.Samples
    feeds: list[Feed]
    produced: dict[int, NDArray[np.float32]]


class CutShort(Stopped):
    """Stopped while models were timed, after rounds enough to be worth keeping: `timed`."""

    def __init__(self, number: int, timed: list[Timed]) -> None:
        super().__init__(number)
        self.timed = timed


def time_models(
    artifacts: Sequence[Artifact],
    crops: Crops,
    ids: Sequence[NDArray[np.int64] | None],
    batch: int,
    *,
    rounds: int | None,
    seconds: float,
) -> list[Timed]:
    """Each model's times and features, interleaved; in one round all models see the same crops.

    `ids` are one array of camera ids (N,) for each model, or None where it takes none. A signal after enough rounds raises CutShort.
    """
    inputs = [feeds(crops, own, one.spec, batch) for one, own in zip(artifacts, ids)]
    produced: list[dict[int, NDArray[np.float32]]] = [{} for _ in artifacts]
    calls = [on_feeds(*parts) for parts in zip(artifacts, inputs, produced)]
    done: list[stopwatch.Round] = []
    try:
        samples = stopwatch.interleave(calls, rounds=rounds, seconds=seconds, kept=done)
    except KeyboardInterrupt as error:
        if len(done) < stopwatch.MIN_ROUNDS:
            raise
        parts = zip(stopwatch.samples_of(done), inputs, produced)
        raise CutShort(stopped(error).number, [Timed(*one) for one in parts]) from None
    return [Timed(*one) for one in zip(samples, inputs, produced)]


def result(timed: Timed, batch: int) -> dict[str, Any]:
    """The numbers of one model at one batch size; times in ms of one call on a whole batch."""
    wall, cpu = timed.samples.wall_ms, timed.samples.cpu_ms
    return {
        "batch": batch,
        "rounds": len(wall),
        "latency_ms": timing.latency(wall),
        "images_per_s": 1000 * batch / float(wall.mean()),
        "cpu_ms": float(np.median(cpu)),
        "cv": timing.variation(wall),
        # every round, for a later --compare
        "wall_ms": [round(float(ms), 4) for ms in wall],
    }


def compared(fresh: Artifact, timed: Timed) -> dict[str, Any]:
    """{features_equal, features_difference}: timed features against those of a freshly opened, untimed model."""
    differences = [
        float(np.abs(fresh.run(*timed.feeds[index]) - features).max())
        for index, features in timed.produced.items()
    ]
    return {"features_equal": max(differences) <= SAME, "features_difference": max(differences)}


def ratio(first: Timed, other: Timed, first_model: Artifact, model: Artifact) -> dict[str, Any]:
    """How many times faster than the first model: by wall time and by CPU time, median and 5-95 % of rounds.

    `interval_95` is the ratio of the median wall times with its 95 % interval (`benchmarks.stats.interval.interval`).
    """
    wall = timing.speed(first.samples.wall_ms, other.samples.wall_ms)
    cpu = timing.speed(first.samples.cpu_ms, other.samples.cpu_ms)
    return {
        "path": str(model.path),
        "engine": model.backend,
        "relative_to": str(first_model.path),
        "batch": len(other.feeds[0][0]),
        "speed": asdict(wall) if wall else None,
        "cpu_speed": asdict(cpu) if cpu else None,
        "interval_95": asdict(interval(first.samples.wall_ms, other.samples.wall_ms, paired=True)),
    }


def on_feeds(
    artifact: Artifact, inputs: list[Feed], produced: dict[int, NDArray[np.float32]]
) -> Callable[[int], None]:
    """A call of the model on one feed after the other, which keeps the features by the feed's number in `produced`."""

    def call(turn: int) -> None:
        index = turn % len(inputs)
        produced[index] = artifact.run(*inputs[index])

    return call
