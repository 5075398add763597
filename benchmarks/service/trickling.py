"""Many connections that send one byte a second and never finish, beside good requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.service.client import HOST
from benchmarks.service.load import Load, RequestOf, open_loop
from benchmarks.service.material import searches
from benchmarks.service.options import ServiceOptions
from benchmarks.service.process import running
from benchmarks.service.searching import find_peak

# The good requests per second, as a part of the peak.
SHARE = 0.3
# The loads without and with trickling connections follow each other so many times.
ROUNDS = 3
EVERY_S = 1.0
HEAD = f"POST /v1/search HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ".encode()


def trickle(options: ServiceOptions, store: Path, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Return {sockets, peak_per_s, without, beside, closed, ratio}: the good requests without and beside trickling connections.

    `closed` counts the trickling connections that the server closed; each is opened again a second later. `ratio` is the 99th
    percentile beside them, divided by that without them.
    """
    request_of = searches(pictures)
    without, beside, closed = Load(), Load(), 0
    with running(options, store) as server:
        peak = find_peak(server.port, request_of, options.seconds)
        for _ in range(ROUNDS):
            seconds = options.seconds / ROUNDS
            _join(
                without, asyncio.run(open_loop(server.port, request_of, rate=SHARE * peak, seconds=seconds))
            )
            load, count = asyncio.run(
                _beside(server.port, request_of, SHARE * peak, seconds, options.sockets)
            )
            _join(beside, load)
            closed += count
    before, after = without.percentiles()["p99"], beside.percentiles()["p99"]
    return {
        "sockets": options.sockets,
        "peak_per_s": peak,
        "without": without.summary(),
        "beside": beside.summary(),
        "closed": closed,
        "ratio": None if before is None or after is None else after / before,
    }


def _join(load: Load, other: Load) -> None:
    load.seconds += other.seconds
    load.unsent += other.unsent
    load.exchanges += other.exchanges


async def _beside(
    port: int, request_of: RequestOf, rate: float, seconds: float, sockets: int
) -> tuple[Load, int]:
    """Return the load beside `sockets` trickling connections, and how often the server closed one of these."""
    closed, ending = 0, asyncio.Event()

    async def slow(number: int) -> None:
        nonlocal closed
        # not all at once
        await asyncio.sleep(EVERY_S * number / sockets)
        while not ending.is_set():
            broken = await _trickle(port, ending)
            closed += broken
            await asyncio.sleep(EVERY_S)

    tasks = [asyncio.create_task(slow(number)) for number in range(sockets)]
    await asyncio.sleep(2 * EVERY_S)
    load = await open_loop(port, request_of, rate=rate, seconds=seconds)
    ending.set()
    await asyncio.gather(*tasks)
    return load, closed


async def _trickle(port: int, ending: asyncio.Event) -> bool:
    """Send a byte a second until the server closes the connection, and return True; False if `ending` is set before."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        # the server refused the connection, which counts as closing it
        return True
    end = asyncio.create_task(reader.read())
    writer.write(HEAD)
    while not end.done() and not ending.is_set():
        writer.write(b"x")
        await asyncio.wait({end}, timeout=EVERY_S)
    broken = end.done()
    writer.close()
    # a connection that the server reset ends with an error, which is an end like any other
    await asyncio.gather(end, return_exceptions=True)
    return broken
