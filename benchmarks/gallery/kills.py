"""Kill a process that works on a gallery, again and again, and check the gallery after each kill, before anything repairs it."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.gallery.checks import Findings, inspect, leftovers
from benchmarks.gallery.operations import ADD, Operation, draw, write_merged
from benchmarks.gallery.rows import gallery, put
from runtime.errors import StorageError
from runtime.gallery.api import open_gallery
from runtime.options.store_place import StorePlace

# A process is killed up to so many seconds after it began its first operation.
LONGEST_S = 0.06
# Deleted rows whose bytes are looked for after each kill.
SOUGHT = 60


@dataclass(frozen=True)
class Kills:
    """The result: `kills`, the finished operations (`acknowledged`), the unfinished ones by kind (`during`), and what was found.

    `erased_found` is the number of deleted rows of which some bytes were left after the next writer had opened the gallery.
    """

    kills: int
    acknowledged: int
    during: dict[str, int]
    findings: Findings
    erased_sought: int
    erased_found: int


def strike_process(pid: int) -> None:
    """Kill a process."""
    os.kill(pid, signal.SIGKILL)


def kill_often(
    folder: Path,
    count: int,
    *,
    seed: int = 0,
    target: StorePlace | None = None,
    strike: Callable[[int], None] = strike_process,
    settle: Callable[[], None] = lambda: None,
    longest_s: float = LONGEST_S,
) -> Kills:
    """Start and kill `count` processes, one after the other, that work on one gallery, and return what was found.

    The gallery is at `target` (None: in a folder below `folder`). `strike` gets the number of a process and ends it, or what it needs
    to work; `settle` is called when it has ended, before anything is checked. A process is struck up to `longest_s` seconds after it
    began.
    """
    random = Random(seed)
    other = write_merged(folder / "other")
    target = folder / "gallery" if target is None else target
    gallery(target).close()
    present: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()
    findings, during = Findings(), Counter[str]()
    acknowledged = sought = found = start = 0
    for _ in range(count):
        log = _killed(target, other, random, start, strike, longest_s)
        settle()
        unfinished = None
        for line in log:
            operation = Operation(**line["operation"])
            start = max(start, operation.value + operation.count if operation.kind == ADD else 0)
            if line["done"]:
                gone = (gone | present) - (after := operation.after(present))
                present, unfinished = after, None
                acknowledged += 1
            else:
                unfinished = operation
        after = present if unfinished is None else unfinished.after(present)
        during[unfinished.kind if unfinished else "nothing"] += 1
        new, stored = inspect(target, present, after)
        findings += new
        gone = (gone | present) - stored
        present = stored
        # the next writer finishes a deletion that the kill interrupted
        with open_gallery(target) as store:
            put(store, [])
        some = random.sample(sorted(gone), min(SOUGHT, len(gone)))
        sought, found = sought + len(some), found + leftovers(target, some)
        gone = frozenset(some)
    return Kills(count, acknowledged, dict(during), findings, sought, found)


def _killed(
    target: StorePlace,
    other: Path,
    random: Random,
    start: int,
    strike: Callable[[int], None],
    longest_s: float,
) -> list[dict[str, Any]]:
    """Start a process, kill it, and return the lines that it wrote: the beginning and the end of each operation."""
    read_end, write_end = os.pipe()
    seed, delay = random.random(), random.uniform(0, longest_s)
    pid = os.fork()
    if not pid:
        os.close(read_end)
        # a worker that loses its server ends without a word
        with suppress(StorageError):
            _work(target, other, Random(seed), start, write_end)
        os._exit(1)
    os.close(write_end)
    try:
        select.select([read_end], [], [], 30)
        time.sleep(delay)
    finally:
        strike(pid)
        os.waitpid(pid, 0)
    with open(read_end, "rb") as file:
        lines = file.read().splitlines()
    return [json.loads(line) for line in lines]


def _work(target: StorePlace, other: Path, random: Random, start: int, log: int) -> None:
    """Do random operations until killed. Each line of the log is one write, so it is there as a whole or not at all."""
    with open_gallery(target) as store:
        while True:
            operation = draw(random, start)
            _tell(log, operation, done=False)
            operation.run(store, other)
            _tell(log, operation, done=True)
            start += operation.count


def _tell(log: int, operation: Operation, *, done: bool) -> None:
    os.write(log, json.dumps({"operation": asdict(operation), "done": done}).encode() + b"\n")
