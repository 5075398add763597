"""Three times as many requests as the server can answer, and how long it takes to recover."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.service.load import Exchange, Load, open_loop
from benchmarks.service.material import searches
from benchmarks.service.options import ServiceOptions
from benchmarks.service.process import running
from benchmarks.service.searching import find_peak

FACTOR, AFTER = 3.0, 0.5
BIN_S = 0.5
# A median latency of at most so many times that before the overload counts as recovered.
SLOWER = 2.0


def overload(options: ServiceOptions, store: Path, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Return {peak_per_s, load, goodput, without_retry_after, after, recovered_s}.

    `load` is that at three times the peak, and `goodput` what it answered with 200, as a part of the peak. `after` is the load at half
    the peak that follows at once. `recovered_s` is as in `recovery`, compared with the same load before the overload.
    """
    request_of = searches(pictures)
    with running(options, store) as server:
        peak = find_peak(server.port, request_of, options.seconds)
        loads = [
            asyncio.run(open_loop(server.port, request_of, rate=factor * peak, seconds=options.seconds))
            for factor in (AFTER, FACTOR, AFTER)
        ]
    before, during, after = loads
    refused = [exchange.answer for exchange in during.exchanges if exchange.answer.status == 503]
    return {
        "peak_per_s": peak,
        "load": during.summary(),
        "goodput": during.rate() / peak,
        "without_retry_after": sum("retry-after" not in answer.headers for answer in refused),
        "after": after.summary(),
        "recovered_s": recovery(before, after),
    }


def recovery(before: Load, after: Load) -> float:
    """Return the seconds until the requests of `after` are served as those of `before`.

    This is the end of the last half second in which a request was refused, or in which the median latency was more than twice the
    median before.
    """
    usual = median(exchange.ms for exchange in before.good())
    bins: dict[int, list[Exchange]] = {}
    for exchange in after.exchanges:
        bins.setdefault(int(exchange.due_s / BIN_S), []).append(exchange)
    bad = [
        number
        for number, exchanges in bins.items()
        if any(exchange.answer.status != 200 for exchange in exchanges)
        or median(exchange.ms for exchange in exchanges) > SLOWER * usual
    ]
    return BIN_S * (max(bad) + 1) if bad else 0.0
