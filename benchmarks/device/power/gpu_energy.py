"""Measure the energy of models on a graphics card: first the idle power, then each model for at least 10 s."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.device.power.energy import LEAST_S, Window, energy
from benchmarks.device.power.sampling import Meter, Sensor, gpu_sensors, open_meter
from runtime.console import note

# A card reports its mean power over the last second. Each state of the card lasts this many seconds before its power counts, so that
# this mean contains no other state.
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
    """Return a list with one dictionary for each model: its power, and its energy per image in joules.

    A dictionary has the keys of the function `benchmarks.device.power.energy.energy` and two more: `sensor` is the name of the power
    sensor, and `malformed` is the number of its readings that could not be parsed.

    `calls` has a function for each model, which takes the number of the call and runs the model on `images` images. Each model runs
    for `settle_s` seconds and then for `least_s` seconds of `clock`, in which its power counts. The energy is that of the card alone,
    without the other parts of the computer. The idle power is measured first, while all models are loaded. `sensors` are the power
    sensors to try, and None stands for `gpu_sensors()`. If no sensor can be read, each result is None.
    """
    with card_meter(sensors, least_s=least_s, settle_s=settle_s, clock=clock) as (meter, idle):
        if meter is None:
            return [None] * len(calls)
        note(f"measuring the energy of {len(calls)} models takes {len(calls) * (settle_s + least_s):g} s")
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
    """Measure the power of the graphics card while a `with` block runs. The context manager yields (meter, idle window).

    It starts the first of `sensors` that works, and then runs nothing on the card for `settle_s` and `least_s` seconds. The idle
    window is the second of these two periods. The sensor runs until the `with` block ends. Yields (None, None) if no sensor can be
    read. If `sensors` is None, they are those of `gpu_sensors()`. `clock` returns a time in seconds.
    """
    meter = open_meter(gpu_sensors() if sensors is None else sensors)
    if meter is None:
        note("neither NVML nor nvidia-smi reports this GPU's power: all energy values are null")
        yield None, None
        return
    try:
        note(f"measuring the idle power with {meter.sensor.name} takes {settle_s + least_s:g} s")
        time.sleep(settle_s)
        start = clock()
        # Sleep slightly longer, because the clock of `sleep` may run faster than `clock`.
        time.sleep(least_s + 0.05)
        yield meter, Window(start, clock())
    finally:
        meter.__exit__(None, None, None)


def _run(
    call: Callable[[int], object], least_s: float, settle_s: float, clock: Callable[[], float]
) -> tuple[Window, int]:
    """Run `call` for `settle_s` seconds and then for `least_s` seconds. Return this second period and its number of calls."""
    start = clock()
    while clock() - start < settle_s:
        call(0)
    start, count = clock(), 0
    while count == 0 or clock() - start < least_s:
        call(count)
        count += 1
    return Window(start, clock()), count
