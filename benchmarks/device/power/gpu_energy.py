"""Measure the energy of models on a graphics card, after their times: an idle window, then one of at least 10 s a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.device.power.energy import LEAST_S, Window, energy
from benchmarks.device.power.sampling import Meter, Sensor, gpu_sensors, open_meter
from runtime.console import note

# A card reports its mean power over the last second. Before a window starts, this much time passes, so that the mean contains
# nothing from before it.
SETTLE_S = 2.0


def gpu_energy(
    calls: Sequence[Callable[[int], object]],
    images: int,
    *,
    sensors: Sequence[Sensor] | None = None,
    least_s: float = LEAST_S,
    settle_s: float = SETTLE_S,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, Any] | None]:
    """Return the result of `benchmarks.device.power.energy.energy` for every call; None for each call without a sensor.

    A call runs `images` images. The energy is that of the card alone, without the rest of the computer. All models are loaded
    during the idle window.
    """
    with card_meter(sensors, least_s=least_s, settle_s=settle_s, clock=clock) as (meter, idle):
        if meter is None:
            return [None] * len(calls)
        note(f"measuring energy: {len(calls) * (settle_s + least_s):g} s")
        windows = [_run(call, least_s, settle_s, clock) for call in calls]
    sensor = {"sensor": meter.sensor.name, "malformed": meter.malformed}
    return [
        sensor | energy(meter.samples, window, images=images * count, idle=idle, least_s=least_s)
        for window, count in windows
    ]


@contextmanager
def card_meter(
    sensors: Sequence[Sensor] | None = None,
    *,
    least_s: float = LEAST_S,
    settle_s: float = SETTLE_S,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[tuple[Meter, Window] | tuple[None, None]]:
    """Start the card's power sensor and yield (meter, idle window); (None, None) where no sensor can be read."""
    meter = open_meter(gpu_sensors() if sensors is None else sensors)
    if meter is None:
        note("neither NVML nor nvidia-smi gives this GPU's power: energy is null")
        yield None, None
        return
    try:
        note(f"measuring idle power with {meter.sensor.name}: {settle_s + least_s:g} s")
        time.sleep(settle_s)
        start = clock()
        # sleep slightly longer: the sleep's clock starts before the window's
        time.sleep(least_s + 0.05)
        yield meter, Window(start, clock())
    finally:
        meter.__exit__(None, None, None)


def _run(
    call: Callable[[int], object], least_s: float, settle_s: float, clock: Callable[[], float]
) -> tuple[Window, int]:
    """Return the window and the number of calls in it. The card works for `settle_s` before the window opens."""
    start = clock()
    while clock() - start < settle_s:
        call(0)
    start, count = clock(), 0
    while count == 0 or clock() - start < least_s:
        call(count)
        count += 1
    return Window(start, clock()), count
