"""A fake GPU: its memory, and streams whose work runs as late as possible or in any allowed order. Imports no GPU library."""

from __future__ import annotations

import gc
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class Misuse(AssertionError):
    """The program under test did something that the real library forbids."""


@dataclass(eq=False)
class Work:
    """One piece of work of a stream.

    `touches` are the allocations that it uses, `context` is the execution context that it needs, and `before` is work that must be
    done first.
    """

    run: Callable[[], None] = lambda: None
    touches: tuple[int, ...] = ()
    context: int | None = None
    before: Work | None = None
    done: bool = False


@dataclass(eq=False)
class Stream:
    queue: deque[Work] = field(default_factory=deque)
    captured: list[Work] | None = None


class PretendedGpu:
    """A fake GPU, on which enqueued work runs later, so that a missing synchronisation shows.

    With seed 0, work runs only when a synchronisation needs it. With another seed, random work that is ready runs at each call, as
    on a busy device. Memory that was not written is 0xFF (NaN as float32). `failures` maps (name of a call, its number) to the
    error that this call returns; number 0 stands for each call of this name.
    """

    def __init__(
        self, *, seed: int = 0, devices: int = 1, memory: int = 1 << 28, driver: int = 13000
    ) -> None:
        self.random = random.Random(seed) if seed else None
        self.devices, self.driver = devices, driver
        self.numbers = itertools.count(1)
        self.device: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.streams: dict[int, Stream] = {}
        self.events: dict[int, Work | None] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self.objects: dict[int, str] = {}
        self.threads: set[int] = set()
        self.failures: dict[tuple[str, int], int] = {}
        self.calls: Counter[str] = Counter()
        self.misuses: list[str] = []
        self.dead = self.probed = False

    def leaks(self) -> list[str]:
        """Return what the program has not freed, and the misuses that could not be raised where they happened."""
        gc.collect()
        kept = {"device memory": self.device, "pinned memory": self.pinned, "streams": self.streams}
        kept |= {"events": self.events, "graphs": self.graphs, "executable graphs": self.executables}
        kept |= {"objects": self.objects}
        return [f"{len(things)} {name}" for name, things in kept.items() if things] + self.misuses

    # The following methods decide when work runs.

    def jitter(self) -> None:
        for _ in range(self.random.randrange(4) if self.random else 0):
            ready = [
                stream for stream in self.streams.values() if stream.queue and self.ready(stream.queue[0])
            ]
            if ready:
                self.run_head(self.random.choice(ready))

    @staticmethod
    def ready(work: Work) -> bool:
        return work.before is None or work.before.done

    @staticmethod
    def run_head(stream: Stream) -> None:
        work = stream.queue.popleft()
        work.run()
        work.done = True

    def complete(self, stream: Stream, last: Work) -> None:
        while not last.done:
            before = stream.queue[0].before
            if before is not None and not before.done:
                self.complete(next(s for s in self.streams.values() if before in s.queue), before)
            self.run_head(stream)

    def pending(self) -> list[Work]:
        return [work for stream in self.streams.values() for work in stream.queue]

    def enqueue(self, number: int, work: Work) -> None:
        stream = self.stream(number)
        (stream.queue if stream.captured is None else stream.captured).append(work)

    def stream(self, number: Any) -> Stream:
        if int(number) not in self.streams:
            raise Misuse(f"stream {int(number)} does not exist")
        return self.streams[int(number)]

    def capturing(self) -> bool:
        return any(stream.captured is not None for stream in self.streams.values())

    def give_back(self, things: dict[int, Any], number: int, what: str) -> None:
        if number not in things:
            raise Misuse(f"{what} {number} was freed before, or never made")
        if any(number in work.touches for work in self.pending()):
            raise Misuse(f"{what} {number} is freed while work on it is pending")
        del things[number]

    def block(
        self, memory: dict[int, np.ndarray], pointer: int, size: int, what: str
    ) -> tuple[int, np.ndarray]:
        """Return (allocation, bytes): the `size` bytes at `pointer`, and the allocation that contains them."""
        for base, data in memory.items():
            if base <= pointer < base + len(data):
                if pointer + size > base + len(data):
                    raise Misuse(f"{size} bytes at {what} {pointer} reach beyond their allocation")
                return base, data[pointer - base : pointer - base + size]
        raise Misuse(f"{what} {pointer} is in no allocation")
