"""Send requests at a given rate, or as fast as the service answers them, and keep what happened."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.service.client import Answer, Connection
from benchmarks.timing import percentile

# Returns the request with a number.
RequestOf = Callable[[int], bytes]
PERCENTS = (50, 95, 99)
# The most connections of a load with a given rate; an arrival that would need one more is counted as unsent.
MOST = 256


@dataclass(frozen=True)
class Exchange:
    """Request `number`, which was due at `due_s` after the start of the load, and its answer."""

    number: int
    due_s: float
    end_s: float
    answer: Answer

    @property
    def ms(self) -> float:
        """The time from when the request was due to its answer, so that a late start counts as well."""
        return 1000 * (self.end_s - self.due_s)


@dataclass
class Load:
    """The exchanges of one load, which lasted `seconds`, and the arrivals that found no free connection (`unsent`)."""

    seconds: float = 0.0
    unsent: int = 0
    exchanges: list[Exchange] = field(default_factory=list)

    def statuses(self) -> dict[str, int]:
        """Return status -> number of answers; "none" counts requests without an answer."""
        counted = Counter(exchange.answer.status for exchange in self.exchanges)
        return {str(status) if status else "none": counted[status] for status in sorted(counted)}

    def good(self) -> list[Exchange]:
        """Return the exchanges that succeeded."""
        return [exchange for exchange in self.exchanges if 200 <= exchange.answer.status < 300]

    def rate(self) -> float:
        """Return the successful requests per second while the load lasted."""
        return sum(exchange.end_s <= self.seconds for exchange in self.good()) / self.seconds

    def percentiles(self) -> dict[str, float | None]:
        """Return {p50, p95, p99} of the successful requests in ms; None without any."""
        times = np.array([exchange.ms for exchange in self.good()], np.float64)
        return {f"p{p}": percentile(times, p) if len(times) else None for p in PERCENTS}

    def summary(self) -> dict[str, object]:
        """Return {seconds, per_s, statuses, unsent, p50, p95, p99}."""
        return {
            "seconds": self.seconds,
            "per_s": self.rate(),
            "statuses": self.statuses(),
            "unsent": self.unsent,
            **self.percentiles(),
        }


async def closed_loop(port: int, request_of: RequestOf, *, connections: int, seconds: float) -> Load:
    """Let `connections` send one request after the other for `seconds`."""
    load, start = Load(seconds), time.monotonic()
    numbers = iter(range(1 << 62))

    async def work() -> None:
        connection = Connection(port)
        while (due := time.monotonic()) < start + seconds:
            number = next(numbers)
            answer = await connection.exchange(request_of(number))
            load.exchanges.append(Exchange(number, due - start, answer.end_s - start, answer))
        connection.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return load


async def open_loop(port: int, request_of: RequestOf, *, rate: float, seconds: float) -> Load:
    """Send `rate` requests a second for `seconds`, at random times as independent clients do, whether or not answers come."""
    gaps = np.random.default_rng(0).exponential(1 / rate, round(2 * rate * seconds) + 10)
    times = np.cumsum(gaps)
    load, start = Load(seconds), time.monotonic()
    free: list[Connection] = []
    busy: set[asyncio.Task[None]] = set()

    async def send(number: int, due: float) -> None:
        connection = free.pop() if free else Connection(port)
        answer = await connection.exchange(request_of(number))
        load.exchanges.append(Exchange(number, due, answer.end_s - start, answer))
        free.append(connection)

    for number, due in enumerate(times[times < seconds].tolist()):
        await asyncio.sleep(max(start + due - time.monotonic(), 0))
        if len(busy) >= MOST:
            load.unsent += 1
            continue
        task = asyncio.create_task(send(number, due))
        busy.add(task)
        task.add_done_callback(busy.discard)
    await asyncio.gather(*busy)
    for connection in free:
        connection.close()
    return load
