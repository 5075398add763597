"""A long load at 70 % of the peak: errors, latency, and what the server holds over time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.service.load import Load, open_loop
from benchmarks.service.material import searches
from benchmarks.service.options import ServiceOptions
from benchmarks.service.process import Server, Use, running
from benchmarks.service.searching import SHARE, find_peak

EVERY_S = 1.0
# The part of the soak after which the memory should no longer grow.
WARM = 0.2


def soak(options: ServiceOptions, store: Path, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Return {minutes, peak_per_s, load, memory_mb_10_min, memory_mb, descriptors, threads}.

    `memory_mb_10_min` is the slope of the resident memory after the first fifth of the soak, in MB in ten minutes. `memory_mb`,
    `descriptors` and `threads` are [least, most] in the same time.
    """
    seconds = 60 * options.minutes
    request_of = searches(pictures)
    with running(options, store) as server:
        peak = find_peak(server.port, request_of, options.seconds)

        async def both() -> tuple[Load, list[tuple[float, Use]]]:
            watched = asyncio.create_task(watch(server, seconds))
            load = await open_loop(server.port, request_of, rate=SHARE * peak, seconds=seconds)
            return load, await watched

        load, uses = asyncio.run(both())
    return {"minutes": options.minutes, "peak_per_s": peak, "load": load.summary(), **trends(uses, seconds)}


async def watch(server: Server, seconds: float) -> list[tuple[float, Use]]:
    """Return what the server holds every second, with the time since the start."""
    start, uses = time.monotonic(), []
    while (now := time.monotonic() - start) < seconds:
        uses.append((now, server.use()))
        await asyncio.sleep(EVERY_S)
    return uses


def trends(uses: Sequence[tuple[float, Use]], seconds: float) -> dict[str, Any]:
    """Return the slope of the memory, and the ranges of memory, descriptors and threads, after the first fifth of `seconds`."""
    late = [(at, use) for at, use in uses if at >= WARM * seconds] or list(uses)
    times = np.array([at for at, _ in late])
    memory = np.array([use.bytes for _, use in late]) / 1e6
    slope = np.polyfit(times, memory, 1)[0] if len(late) > 1 else 0.0
    return {
        "memory_mb_10_min": 600 * float(slope),
        "memory_mb": [float(memory.min()), float(memory.max())],
        "descriptors": _range([use.descriptors for _, use in late]),
        "threads": _range([use.threads for _, use in late]),
    }


def _range(values: Sequence[int]) -> list[int]:
    return [min(values), max(values)]
