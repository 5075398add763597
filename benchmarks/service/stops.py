"""Stop servers with SIGTERM under load, again and again, and look for what was accepted and not answered."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.service.client import Answer, Connection, post
from benchmarks.service.material import marked, searches
from benchmarks.service.options import ServiceOptions
from benchmarks.service.process import Server, running
from runtime.gallery.api import open_gallery

CONNECTIONS = 24
# Every so many requests, one adds a picture.
ADD_EVERY = 4
# The server is stopped so many seconds after the load began.
EARLIEST_S, LATEST_S = 0.5, 2.0
# A request that was handed over so long before the signal must be answered: the server has read it by then.
READ_S = 0.2


@dataclass(frozen=True)
class Sent:
    """One request of the load; `sha256` is that of the picture that it adds, or None for a search."""

    sha256: str | None
    answer: Answer


@dataclass
class Stops:
    """The result of all stops.

    `answered` counts requests, `lost` those without an answer that the server must have read, `cut` those with a part of an answer,
    and `closed` those that came too late. `added` pictures were acknowledged, of which `added_lost` are not stored. `unknown` pictures
    are stored although their request was not answered. `statuses` counts the answers. `slowest_s` is the longest time to the end of
    the server, and `exits` are its exit statuses.
    """

    stops: int = 0
    answered: int = 0
    lost: int = 0
    cut: int = 0
    closed: int = 0
    added: int = 0
    added_lost: int = 0
    unknown: int = 0
    slowest_s: float = 0.0


def stop_often(options: ServiceOptions, store: Path, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Start and stop `options.stops` servers under load, and return the fields of `Stops` with the statuses and exit statuses."""
    random, result = Random(0), Stops()
    statuses: dict[str, int] = {}
    exits: dict[str, int] = {}
    for number in range(options.stops):
        with running(options, store) as server:
            delay = random.uniform(EARLIEST_S, LATEST_S)
            sent, signal_s, end_s = asyncio.run(_stop_one(server, pictures, delay, f"stop {number}"))
            code = str(server.process.returncode)
        exits[code] = exits.get(code, 0) + 1
        for one in sent:
            status = str(one.answer.status or "none")
            statuses[status] = statuses.get(status, 0) + 1
        _count(result, sent, signal_s, _stored(store, sent))
        result.stops += 1
        result.slowest_s = max(result.slowest_s, end_s - signal_s)
    return vars(result) | {"statuses": statuses, "exits": exits}


def _count(result: Stops, sent: Sequence[Sent], signal_s: float, stored: frozenset[str]) -> None:
    """Add what happened to the requests of one stop, after which the pictures `stored` are in the gallery."""
    for one in sent:
        answer = one.answer
        if answer.status:
            result.answered += 1
        elif answer.begun:
            result.cut += 1
        elif answer.sent_s is not None and answer.sent_s < signal_s - READ_S:
            result.lost += 1
        else:
            result.closed += 1
        if one.sha256 is not None:
            result.added += answer.status == 201
            result.added_lost += answer.status == 201 and one.sha256 not in stored
            result.unknown += not answer.status and one.sha256 in stored


def _stored(store: Path, sent: Sequence[Sent]) -> frozenset[str]:
    keys = [(one.sha256, "") for one in sent if one.sha256 is not None]
    with open_gallery(store) as gallery:
        return frozenset(sha256 for sha256, _ in gallery.known(keys))


async def _stop_one(
    server: Server, pictures: Sequence[bytes], delay: float, name: str
) -> tuple[list[Sent], float, float]:
    """Load the server, stop it after `delay` seconds, and return (the requests, when the signal was sent, when the server ended)."""
    sent: list[Sent] = []
    numbers = iter(range(1 << 62))
    request_of = _requests(pictures, name)

    async def work() -> None:
        connection = Connection(server.port)
        while True:
            sha256, request = request_of(next(numbers))
            answer = await connection.exchange(request)
            if answer.sent_s is None and not answer.begun:
                # the server does not listen any more
                return
            sent.append(Sent(sha256, answer))

    workers = [asyncio.create_task(work()) for _ in range(CONNECTIONS)]
    await asyncio.sleep(delay)
    signal_s = time.monotonic()
    await asyncio.get_running_loop().run_in_executor(None, server.stop)
    end_s = time.monotonic()
    await asyncio.gather(*workers)
    return sent, signal_s, end_s


def _requests(pictures: Sequence[bytes], name: str) -> Callable[[int], tuple[str | None, bytes]]:
    return partial(_request, pictures, searches(pictures), name)


def _request(
    pictures: Sequence[bytes], search: Callable[[int], bytes], name: str, number: int
) -> tuple[str | None, bytes]:
    """Return the sha256 of the picture that the request with this number adds (None: it searches), and the request."""
    if number % ADD_EVERY:
        return None, search(number)
    picture = marked(pictures[number % len(pictures)], f"{name}, request {number}")
    return hashlib.sha256(picture).hexdigest(), post("/v1/rows", picture)
