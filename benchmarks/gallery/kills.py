"""Kill a process that works on a gallery, again and again, and check the gallery after each kill, before anything repairs it."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.gallery.checks import Findings, inspect, leftovers
from benchmarks.gallery.operations import ADD, Operation, draw, write_merged
from benchmarks.gallery.rows import gallery, put
from runtime.gallery.api import open_gallery

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


def kill_often(folder: Path, count: int, *, seed: int = 0) -> Kills:
    """Start and kill `count` processes, one after the other, that work on the gallery in `folder`, and return what was found."""
    random = Random(seed)
    other = write_merged(folder / "other")
    target = folder / "gallery"
    gallery(target).close()
    present: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()
    findings, during = Findings(), Counter[str]()
    acknowledged = sought = found = start = 0
    for _ in range(count):
        log = _killed(target, other, random, start)
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


def _killed(target: Path, other: Path, random: Random, start: int) -> list[dict[str, Any]]:
    """Start a process, kill it, and return the lines that it wrote: the beginning and the end of each operation."""
    read_end, write_end = os.pipe()
    seed, delay = random.random(), random.uniform(0, LONGEST_S)
    pid = os.fork()
    if not pid:
        os.close(read_end)
        _work(target, other, Random(seed), start, write_end)
        os._exit(1)
    os.close(write_end)
    try:
        select.select([read_end], [], [], 30)
        time.sleep(delay)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with open(read_end, "rb") as file:
        lines = file.read().splitlines()
    return [json.loads(line) for line in lines]


def _work(target: Path, other: Path, random: Random, start: int, log: int) -> None:
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
