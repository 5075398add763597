"""Time the calls of an opened model or the extraction of a whole gallery, and record the period in which they ran, for the energy."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.device.power.energy import Window
from benchmarks.device.run import Gallery, Scenario
from runtime.artifact import Artifact
from runtime.datasets import Dataset
from runtime.extraction.extract import extract
from runtime.host import stopwatch

GALLERY_BATCH = 32


Clock = Callable[[], float]


def time_scenario(
    call: Callable[[int], object], persons: int, *, least_s: float, rounds: int | None, clock: Clock
) -> Scenario:
    """Time calls with `persons` images for at least `least_s` seconds of `clock`, which returns a time in seconds.

    `call` runs the model once; its argument is the number of the call. `rounds` calls are timed, or calls for `least_s` seconds if
    `rounds` is None. The window of the result also covers the warm-up before the timed calls, and the untimed calls that follow them
    until `least_s` seconds have passed.
    """
    calls = 0

    def count_call(turn: int) -> None:
        nonlocal calls
        call(turn)
        calls += 1

    start = clock()
    samples = stopwatch.interleave([count_call], rounds=rounds, seconds=least_s)[0]
    while clock() - start < least_s:
        count_call(calls)
    window = Window(start, clock())
    name = f"{persons} persons" if persons > 1 else "batch 1"
    return Scenario(name, persons, samples.wall_ms.tolist(), calls * persons, window)


def time_gallery(
    artifact: Artifact, dataset: Dataset, ids: NDArray[np.int64] | None, *, least_s: float, clock: Clock
) -> Gallery:
    """Extract the data set's whole gallery from its files, once or more, until `least_s` seconds of `clock` have passed.

    `ids` (G,) are the camera ids of the gallery's images, or None for a model that takes no camera ids. `clock` returns a time in
    seconds.
    """
    batch, passes, start = artifact.spec.batch or GALLERY_BATCH, 0, clock()
    while passes == 0 or clock() - start < least_s:
        extract(artifact, dataset.gallery, batch=batch, camera_ids=ids)
        passes += 1
    return Gallery(len(dataset.gallery), passes, batch, Window(start, clock()))


def idle_window(clock: Clock, least_s: float) -> Window:
    """Sleep for at least `least_s` seconds of `clock`, and return this period, in which no model runs."""
    start = clock()
    # Sleep slightly longer, because the clock of `sleep` may run faster than `clock`.
    time.sleep(least_s + 0.05)
    return Window(start, clock())
