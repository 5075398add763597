"""Images a second of several processes that run one model at the same time, crops already in memory. Reads no files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.candidate import reopen_candidate
from benchmarks.inputs import Crops, feeds
from benchmarks.options import Candidate
from runtime.extraction.processes import Child, processes

# All have heard of the start before it comes, and nobody waits for the last to hear.
LEAD_S = 0.1
WARMUP_S = 0.2


@dataclass(frozen=True)
class Load:
    """What each process runs: `crops` through `candidate` in batches; `ids` (N,) are their camera ids or None."""

    candidate: Candidate
    crops: Crops
    ids: NDArray[np.int64] | None
    batch: int


@contextmanager
def open_runners(load: Load, count: int) -> Iterator[list[Child]]:
    """`count` processes that have opened and warmed the model up, for `measure`. Refusals are the model's own."""
    with processes(count, _run, load) as children:
        for child in children:
            child.receive()
        yield children


def measure(children: Sequence[Child], load: Load, *, seconds: float) -> dict[str, Any]:
    """{processes, threads, batch, seconds, images, images_per_s, images_per_s_each[]} of one window in which all run.

    All begin at one moment and go on for `seconds`; the rate of each counts up to the end of its last call.
    """
    start = time.monotonic() + LEAD_S
    for child in children:
        child.send((start, seconds))
    done: list[tuple[int, float]] = [child.receive() for child in children]
    rates = [load.batch * calls / elapsed for calls, elapsed in done]
    return {
        "processes": len(children),
        "threads": load.candidate.threads,
        "batch": load.batch,
        "seconds": seconds,
        "images": sum(load.batch * calls for calls, _ in done),
        "images_per_s": sum(rates),
        "images_per_s_each": rates,
    }


def throughput(load: Load, count: int, *, seconds: float) -> dict[str, Any]:
    """`measure`'s answer for `count` new processes."""
    with open_runners(load, count) as children:
        return measure(children, load, seconds=seconds)


def _run(pipe: Connection, load: Load) -> None:
    artifact = reopen_candidate(load.candidate)
    inputs = feeds(load.crops, load.ids, artifact.spec, load.batch)
    _turns(artifact.run, inputs, time.monotonic() + WARMUP_S)
    pipe.send(None)
    while True:
        start, seconds = pipe.recv()
        time.sleep(max(start - time.monotonic(), 0))
        calls = _turns(artifact.run, inputs, start + seconds)
        pipe.send((calls, time.monotonic() - start))


def _turns(run: Any, inputs: Sequence[Any], until: float) -> int:
    """Calls until then, at least one."""
    calls = 0
    while not calls or time.monotonic() < until:
        run(*inputs[calls % len(inputs)])
        calls += 1
    return calls
