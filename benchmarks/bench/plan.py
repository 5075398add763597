"""List the parts of a bench.py run, and estimate the time of each from two short calls of every model."""

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

# Seconds to start Python with numpy and a backend, and to start trtexec and load an engine.
START_S, TRTEXEC_S = 2.0, 8.0
# Number of calls whose features are compared with those of a freshly opened model, and of images whose stages are timed.
COMPARED, STAGED = 4, 64


@dataclass(frozen=True)
class Cost:
    """The time that one model needs: `open_s` seconds to open it, and `image_s` seconds per image at the smallest batch size."""

    open_s: float
    image_s: float


@dataclass(frozen=True)
class RunSettings:
    """The settings that determine the parts of a run and their length.

    Each model is timed at each batch size for `rounds` calls, or for `seconds` seconds if `rounds` is None. Three fields are numbers
    of images, and 0 omits their part of the run: `images` for the accuracy, `gallery` for extracting a whole gallery on a graphics
    card, and `compared` for comparing features with those of the first model. Three fields add a part: `staged` times each stage from
    the image file to the ranking, `card` measures energy and trtexec's times on a graphics card, and `throughput` runs several
    processes at once.
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
    """Call an opened model twice on the batch `feed`, and return its cost. The second call is timed; opening took `open_s` seconds."""
    artifact.run(*feed)
    started = time.monotonic()
    artifact.run(*feed)
    return Cost(open_s, (time.monotonic() - started) / len(feed[0]))


def times_at(batch: int) -> str:
    """Return the name of the part of a run in which all models are timed at the batch size `batch`."""
    return f"times at batch {batch}"


def accuracy_of(name: str) -> str:
    """Return the name of the part of a run in which the accuracy of the model `name` is measured."""
    return f"accuracy of {name}"


def separate_part(name: str, batch: int) -> str:
    """Return the name of the part of a run in which the model `name` is measured in new processes.

    It measures the memory, the throughput and the time in trtexec at the batch size `batch`.
    """
    return f"memory of {name} at batch {batch}"


def names(paths: Sequence[str]) -> list[str]:
    """Return a short name for each path, such as `m.onnx`. If two paths are equal, their names get a number: `m.onnx (1)`."""
    short = [labels(paths)[path] for path in paths]
    return [
        f"{name} ({short[: index + 1].count(name)})" if short.count(name) > 1 else name
        for index, name in enumerate(short)
    ]


PARITY, STAGES, GALLERIES = "parity with the first model", "time of each stage", "whole galleries"


def agenda(names: Sequence[str], costs: Sequence[Cost], settings: RunSettings) -> Agenda:
    """Return the agenda with all parts of the run, in order. `names` (no two equal) and `costs` have one entry for each model."""
    parts = []
    if settings.compared:
        parts.append(Part(PARITY, sum(cost.image_s * settings.compared for cost in costs)))
    parts += [
        Part(times_at(batch), sum(_times_s(cost, batch, settings) for cost in costs))
        for batch in settings.batches
    ]
    if settings.images:
        parts += [Part(accuracy_of(name), cost.image_s * settings.images) for name, cost in zip(names, costs)]
    if settings.staged:
        parts.append(Part(STAGES, sum(2 * STAGED * cost.image_s for cost in costs)))
    if settings.gallery:
        parts.append(Part(GALLERIES, sum(max(LEAST_S, cost.image_s * settings.gallery) for cost in costs)))
    for batch in settings.batches:
        parts += [
            Part(separate_part(name, batch), _separate_s(cost, batch, settings))
            for name, cost in zip(names, costs)
        ]
    return Agenda(parts, basis="two calls of each model at the smallest batch size")


def _times_s(cost: Cost, batch: int, settings: RunSettings) -> float:
    call_s = cost.image_s * batch
    timed = timing_s(call_s, rounds=settings.rounds, seconds=settings.seconds)
    return timed + cost.open_s + COMPARED * call_s + (LEAST_S if settings.card else 0)


def _separate_s(cost: Cost, batch: int, settings: RunSettings) -> float:
    start_s = START_S + cost.open_s
    total = PROCESSES * (start_s + RUNS * cost.image_s * batch)
    total += start_s + settings.seconds if settings.throughput else 0
    return total + (2 * (TRTEXEC_S + settings.seconds) if settings.card else 0)
