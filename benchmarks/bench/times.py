"""Time models at one batch size, keep the features of the timed calls, and summarise the times."""

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

# Repeated runs of a model differ only by the order of parallel sums, which changes features by less than this.
SAME = 1e-5


@dataclass(frozen=True)
class Timed:
    """The times and features of one model at one batch size.

    `samples` are the times of its calls, and `feeds` are the batches that it was called on. `produced` maps an index in `feeds` to the
    features (B, D) of the last call on this batch.
    """

    samples: stopwatch.Samples
    feeds: list[Feed]
    produced: dict[int, NDArray[np.float32]]


class CutShort(Stopped):
    """A signal stopped the timing of models after 10 rounds or more. `timed` has the times of these rounds for each model."""

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
    """Time opened models at the batch size `batch`, and return the times and features of each.

    In each round, every model is called once, on the same crops. There are `rounds` rounds, or as many as take about `seconds` seconds
    for each model if `rounds` is None. `ids` has the camera ids (N,) of the N crops for each model, or None for a model that takes no
    camera ids. Raises CutShort if a signal arrives after 10 rounds or more.
    """
    inputs = [feeds(crops, camids, artifact.spec, batch) for artifact, camids in zip(artifacts, ids)]
    produced: list[dict[int, NDArray[np.float32]]] = [{} for _ in artifacts]
    calls = [on_feeds(*parts) for parts in zip(artifacts, inputs, produced)]
    rounds_done: list[stopwatch.Round] = []
    try:
        samples = stopwatch.interleave(calls, rounds=rounds, seconds=seconds, kept=rounds_done)
    except KeyboardInterrupt as error:
        if len(rounds_done) < stopwatch.MIN_ROUNDS:
            raise
        parts = zip(stopwatch.samples_of(rounds_done), inputs, produced)
        raise CutShort(stopped(error).number, [Timed(*fields) for fields in parts]) from None
    return [Timed(*fields) for fields in zip(samples, inputs, produced)]


def result(timed: Timed, batch: int) -> dict[str, Any]:
    """Return {batch, rounds, latency_ms, images_per_s, cpu_ms, cv, wall_ms[]} of one model at the batch size `batch`.

    All times are in ms for a call on a whole batch. `wall_ms` has the time of every round, and `cv` is its coefficient of variation.
    `cpu_ms` is the median CPU time.
    """
    wall, cpu = timed.samples.wall_ms, timed.samples.cpu_ms
    return {
        "batch": batch,
        "rounds": len(wall),
        "latency_ms": timing.latency(wall),
        "images_per_s": 1000 * batch / float(wall.mean()),
        "cpu_ms": float(np.median(cpu)),
        "cv": timing.variation(wall),
        # A later --compare needs the time of every round.
        "wall_ms": [round(float(ms), 4) for ms in wall],
    }


def compared(fresh: Artifact, timed: Timed) -> dict[str, Any]:
    """Compare the features that a model computed while it was timed with those of `fresh`, a newly opened copy of the model.

    Returns {features_equal, features_difference}. `features_difference` is the largest absolute difference between two corresponding
    values of the features, and `features_equal` says whether it is at most 1e-5.
    """
    differences = [
        float(np.abs(fresh.run(*timed.feeds[index]) - features).max())
        for index, features in timed.produced.items()
    ]
    return {"features_equal": max(differences) <= SAME, "features_difference": max(differences)}


def ratio(first: Timed, other: Timed, first_model: Artifact, model: Artifact) -> dict[str, Any]:
    """Return how many times as fast `other` is as the `first` model, by wall time (`speed`) and by CPU time (`cpu_speed`).

    `speed` and `cpu_speed` are {median, low, high} over the rounds of (time of `first`) / (time of `other`), where `low` and `high`
    are the 5th and 95th percentiles. `interval_95` is {ratio, low, high}: the ratio of the median wall times and its 95 % interval
    (see `benchmarks.stats.interval`).
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
    """Return a function that runs the model on one batch of `inputs`, and returns None.

    Its argument is the number of the call: call 0 uses the first batch, and after the last batch, the first follows again. Each call
    stores the features (B, D) in `produced`, under the index of the batch in `inputs`.
    """

    def call(turn: int) -> None:
        index = turn % len(inputs)
        produced[index] = artifact.run(*inputs[index])

    return call
