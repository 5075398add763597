"""What bench.py is going to do and how long that will take, from a short calibration. Keeps no measurement."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.agenda import Agenda, Part, timing_s
from benchmarks.bench.memory import PROCESSES, RUNS
from benchmarks.device.power.energy import LEAST_S
from benchmarks.inputs import Feed
from benchmarks.labels import labels
from runtime.artifact import Artifact

# A new Python with numpy and a session library; starting trtexec and loading an engine.
START_S, TRTEXEC_S = 2.0, 8.0
# What a fresh run is compared on, and the pictures whose way through the stages is timed.
COMPARED, STAGED = 4, 64


@dataclass(frozen=True)
class Cost:
    """What a model costs in seconds: to open, and to run on one image (measured at the smallest batch)."""

    open_s: float
    image_s: float


@dataclass(frozen=True)
class Wanted:
    """What was asked for: how each batch is timed, `images` to score (0: none), `gallery` to extract on a graphics card.

    `compared` images are run for the parity with the first model (0: none).
    """

    batches: Sequence[int]
    rounds: int | None
    seconds: float
    images: int = 0
    staged: bool = False
    card: bool = False
    gallery: int = 0
    throughput: bool = False
    compared: int = 0


def calibrate(artifact: Artifact, feed: Feed, open_s: float) -> Cost:
    """The cost of a model that took `open_s` to open, from two calls on its input, the second of them timed."""
    artifact.run(*feed)
    started = time.monotonic()
    artifact.run(*feed)
    return Cost(open_s, (time.monotonic() - started) / len(feed[0]))


def times_at(batch: int) -> str:
    """The name of the part in which all models are timed at that batch size."""
    return f"times at batch {batch}"


def accuracy_of(name: str) -> str:
    """The name of the part in which a model is scored."""
    return f"accuracy of {name}"


def beside(name: str, batch: int) -> str:
    """The name of the part that measures in processes of their own."""
    return f"memory of {name} at batch {batch}"


def names(paths: Sequence[str]) -> list[str]:
    """File names that tell the models apart; one that is there twice gets a number."""
    short = [labels(paths)[path] for path in paths]
    return [
        f"{name} ({short[: place + 1].count(name)})" if short.count(name) > 1 else name
        for place, name in enumerate(short)
    ]


PARITY, STAGES, GALLERIES = "parity with the first model", "time of each stage", "whole galleries"


def agenda(names: Sequence[str], costs: Sequence[Cost], wanted: Wanted) -> Agenda:
    """Every part of the run in its order; `names` tell the models apart."""
    parts = []
    if wanted.compared:
        parts.append(Part(PARITY, sum(cost.image_s * wanted.compared for cost in costs)))
    parts += [
        Part(times_at(batch), sum(_times_s(cost, batch, wanted) for cost in costs))
        for batch in wanted.batches
    ]
    if wanted.images:
        parts += [Part(accuracy_of(name), cost.image_s * wanted.images) for name, cost in zip(names, costs)]
    if wanted.staged:
        parts.append(Part(STAGES, sum(2 * STAGED * cost.image_s for cost in costs)))
    if wanted.gallery:
        parts.append(Part(GALLERIES, sum(max(LEAST_S, cost.image_s * wanted.gallery) for cost in costs)))
    for batch in wanted.batches:
        parts += [
            Part(beside(name, batch), _beside_s(cost, batch, wanted)) for name, cost in zip(names, costs)
        ]
    return Agenda(parts, basis="two calls of each model at the smallest batch")


def _times_s(cost: Cost, batch: int, wanted: Wanted) -> float:
    call_s = cost.image_s * batch
    timed = timing_s(call_s, rounds=wanted.rounds, seconds=wanted.seconds)
    return timed + cost.open_s + COMPARED * call_s + (LEAST_S if wanted.card else 0)


def _beside_s(cost: Cost, batch: int, wanted: Wanted) -> float:
    once = START_S + cost.open_s
    total = PROCESSES * (once + RUNS * cost.image_s * batch)
    total += once + wanted.seconds if wanted.throughput else 0
    return total + (2 * (TRTEXEC_S + wanted.seconds) if wanted.card else 0)
