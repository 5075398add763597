"""Measure the images per second of several processes that run one model at the same time, on crops already in memory."""

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

# The start lies this far ahead, so that every process receives it in time and all begin together.
LEAD_S = 0.1
WARMUP_S = 0.2


@dataclass(frozen=True)
class Load:
    """The work of each process: it runs the model `candidate` on `crops` in batches of `batch` images.

    `ids` (N,) are the camera ids of the N crops, or None for a model that takes no camera ids.
    """

    candidate: Candidate
    crops: Crops
    ids: NDArray[np.int64] | None
    batch: int


@contextmanager
def open_runners(load: Load, count: int) -> Iterator[list[Child]]:
    """Return a context manager that starts `count` processes, in each of which the model of `load` is opened and warmed up.

    The `with` block gets the list of the processes, which is the argument `children` of `measure`. The processes end with the block.
    If the model cannot be opened in a process, its error is raised before the block runs.
    """
    with processes(count, _run, load) as children:
        for child in children:
            child.receive()
        yield children


def measure(children: Sequence[Child], load: Load, *, seconds: float) -> dict[str, Any]:
    """Run the model in all processes at the same time for `seconds` seconds, and return their images per second.

    `children` come from `open_runners(load, ...)`. Returns {processes, threads, batch, seconds, images, images_per_s,
    images_per_s_each[]}. `threads` is that of `load.candidate`. `images_per_s` is the sum over the processes. The rate of one
    process is the number of its images divided by the time until the end of its last call.
    """
    start = time.monotonic() + LEAD_S
    for child in children:
        child.send((start, seconds))
    results: list[tuple[int, float]] = [child.receive() for child in children]
    rates = [load.batch * calls / elapsed for calls, elapsed in results]
    return {
        "processes": len(children),
        "threads": load.candidate.threads,
        "batch": load.batch,
        "seconds": seconds,
        "images": sum(load.batch * calls for calls, _ in results),
        "images_per_s": sum(rates),
        "images_per_s_each": rates,
    }


def throughput(load: Load, count: int, *, seconds: float) -> dict[str, Any]:
    """Return the images per second of `count` new processes that run `load` for `seconds` seconds, as `measure` does."""
    with open_runners(load, count) as children:
        return measure(children, load, seconds=seconds)


def _run(pipe: Connection, load: Load) -> None:
    artifact = reopen_candidate(load.candidate)
    inputs = feeds(load.crops, load.ids, artifact.spec, load.batch)
    _call_until(artifact.run, inputs, time.monotonic() + WARMUP_S)
    pipe.send(None)
    while True:
        start, seconds = pipe.recv()
        time.sleep(max(start - time.monotonic(), 0))
        calls = _call_until(artifact.run, inputs, start + seconds)
        pipe.send((calls, time.monotonic() - start))


def _call_until(run: Any, inputs: Sequence[Any], until: float) -> int:
    """Call `run` on the inputs in turn, at least once, until the time `until`. Return the number of calls."""
    calls = 0
    while not calls or time.monotonic() < until:
        run(*inputs[calls % len(inputs)])
        calls += 1
    return calls
