"""The stretches of time in which a scenario, a whole gallery and idleness are measured. Opens no model."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.device.power.energy import Window
from benchmarks.device.run import Gallery, Scene
from runtime.artifact import Artifact
from runtime.datasets import Dataset
from runtime.extraction.extract import extract
from runtime.host import stopwatch

GALLERY_BATCH = 32


Clock = Callable[[], float]


def time_scene(
    call: Callable[[int], object], persons: int, *, least_s: float, rounds: int | None, clock: Clock
) -> Scene:
    """The scenario of `persons` images a call in a window of at least `least_s`, or of `rounds` timed calls in it.

    The warm-up belongs to the window, and what it takes beyond `rounds` to fill it.
    """
    calls = 0

    def counted(turn: int) -> None:
        nonlocal calls
        call(turn)
        calls += 1

    start = clock()
    samples = stopwatch.interleave([counted], rounds=rounds, seconds=least_s)[0]
    while clock() - start < least_s:
        counted(calls)
    window = Window(start, clock())
    name = f"{persons} persons" if persons > 1 else "batch 1"
    return Scene(name, persons, samples.wall_ms.tolist(), calls * persons, window)


def time_gallery(
    artifact: Artifact, dataset: Dataset, ids: NDArray[np.int64] | None, *, least_s: float, clock: Clock
) -> Gallery:
    """Whole extractions of the data set's gallery, from the files on, until `least_s` have gone."""
    batch, passes, start = artifact.spec.batch or GALLERY_BATCH, 0, clock()
    while passes == 0 or clock() - start < least_s:
        extract(artifact, dataset.gallery, batch=batch, camera_ids=ids)
        passes += 1
    return Gallery(len(dataset.gallery), passes, batch, Window(start, clock()))


def idleness(clock: Clock, least_s: float) -> Window:
    """A window in which nothing of ours runs."""
    start = clock()
    # a little more: the clock of the window starts after the sleep's
    time.sleep(least_s + 0.05)
    return Window(start, clock())
