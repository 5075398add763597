"""Throughput and latency of searches by picture, beside the time of what a search consists of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.service.load import Load, RequestOf, closed_loop, open_loop
from benchmarks.service.material import searches
from benchmarks.service.options import ServiceOptions
from benchmarks.service.process import running
from benchmarks.service.stages import opened_stages
from runtime.errors import DeviceError
from runtime.model import Model

# Fewer than the requests that the server accepts at a time, so that it refuses none.
CONNECTIONS = 16
ROUNDS = 5
# Searches in each turn of the comparison with the stages of a search.
TURN = 40
WARMUP_S = 2.0
SHARE = 0.7


def find_peak(port: int, request_of: RequestOf, seconds: float) -> float:
    """Return the most searches per second: the median of three loads that together last `seconds`.

    Raises DeviceError if the server answered none in one of these.
    """
    asyncio.run(closed_loop(port, request_of, connections=CONNECTIONS, seconds=WARMUP_S))
    loads = [closed_loop(port, request_of, connections=CONNECTIONS, seconds=seconds / 3) for _ in range(3)]
    peak = median([asyncio.run(load).rate() for load in loads])
    if not peak:
        raise DeviceError(f"the server answered no search within {seconds / 3:.1f} s; give more --seconds")
    return peak


def measure_searches(
    options: ServiceOptions, model: Model, store: Path, pictures: Sequence[bytes], rows: int
) -> dict[str, Any]:
    """Return {rows, peak_per_s, alone, stages, sum_ms, overhead, cpu_ms, stages_cpu_ms, cpu_overhead, loaded} of one gallery.

    `alone` are the percentiles of searches one at a time. They take turns with the same work without a server, whose median times are
    `stages` and `sum_ms`. `overhead` is the median of `alone` divided by this sum, minus 1. `cpu_ms`, `stages_cpu_ms` and
    `cpu_overhead` compare the CPU time in the same way, which other programs disturb less. `loaded` is a load at 70 % of the peak.
    """
    request_of = searches(pictures)
    alone, cpu_s = Load(), 0.0
    with running(options, store) as server, opened_stages(model, store, pictures, options.cores[0]) as stages:
        peak = find_peak(server.port, request_of, options.seconds)
        for _ in range(ROUNDS):
            before = server.use().cpu_s
            turn = closed_loop(server.port, request_of, connections=1, seconds=options.seconds / ROUNDS)
            alone.exchanges += asyncio.run(turn).exchanges
            cpu_s += server.use().cpu_s - before
            stages.run(TURN)
        loaded = asyncio.run(open_loop(server.port, request_of, rate=SHARE * peak, seconds=options.seconds))
    whole, medians = alone.percentiles(), stages.medians()
    p50, total = whole["p50"], sum(medians.values())
    cpu_ms, stages_cpu_ms = 1000 * cpu_s / len(alone.exchanges), stages.cpu_ms()
    return {
        "rows": rows,
        "peak_per_s": peak,
        "alone": whole | {"searches": len(alone.exchanges)},
        "stages": medians,
        "sum_ms": total,
        "overhead": None if p50 is None else p50 / total - 1,
        "cpu_ms": cpu_ms,
        "stages_cpu_ms": stages_cpu_ms,
        "cpu_overhead": cpu_ms / stages_cpu_ms - 1,
        "loaded": loaded.summary(),
    }
