"""Let every write, sync, truncation, rename and removal of a gallery fail once, SQLite's included, and check what is left."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.gallery import shim
from benchmarks.gallery.checks import Findings, inspect, leftovers
from benchmarks.gallery.operations import ADD, COMPACT, DELETE, EXPIRE, MERGE, Operation, write_merged
from benchmarks.gallery.rows import gallery, put
from runtime.errors import StorageError
from runtime.gallery.api import open_gallery

OPERATIONS = (
    Operation(ADD, 500, 30),
    Operation(DELETE, 3),
    Operation(EXPIRE, 20),
    Operation(COMPACT),
    Operation(MERGE),
)
REASONS = (errno.ENOSPC, errno.EIO)
STORED, FAILED, OTHER = 0, 6, 1


@dataclass(frozen=True)
class Faults:
    """The result for one operation: how many `calls` failed in turn, how many of these stopped it (`refused`), and what was found.

    `not_repeated` counts the galleries on which the same operation did not succeed afterwards, `crashed` those where it ended
    otherwise than with a StorageError, and `erased_found` the deleted rows of which bytes were left then.
    """

    kind: str
    calls: int = 0
    refused: int = 0
    crashed: int = 0
    not_repeated: int = 0
    erased_found: int = 0
    findings: Findings = Findings()


def fail_each(folder: Path, *, every: int = 1) -> list[Faults]:
    """Do each operation again and again, with another failing call each time, and return what was found.

    `every` 2 lets every second call fail, and so on. Must run in a process with the shim (`shim.run_under_shim`).
    """
    whole = folder / "whole"
    write_merged(folder / "other")
    before = frozenset(range(40))
    with gallery(whole) as store:
        put(store, before)
        store.delete(camera=1)
    before = frozenset(number for number in before if number % 3 != 1)
    return [_fail_one(folder, operation, before, every) for operation in OPERATIONS]


def _fail_one(folder: Path, operation: Operation, before: frozenset[int], every: int) -> Faults:
    result, at = Faults(operation.kind), 1
    after = operation.after(before)
    while True:
        target = shutil.copytree(folder / "whole", folder / "target")
        status, calls = _child(target, folder / "other", operation, at)
        findings, present = inspect(target, before, after)
        if status == STORED and present != after:
            findings = replace(findings, lost=findings.lost + 1)
        with open_gallery(target) as store:
            operation.run(store, folder / "other")
        _, repeated = inspect(target, after, after)
        result = replace(
            result,
            calls=result.calls + (calls >= at),
            refused=result.refused + (status == FAILED),
            crashed=result.crashed + (status not in (STORED, FAILED)),
            not_repeated=result.not_repeated + (repeated != after),
            erased_found=result.erased_found + leftovers(target, before - after),
            findings=result.findings + findings,
        )
        shutil.rmtree(target)
        if calls < at:
            return result
        at += every


def _child(target: Path, other: Path, operation: Operation, at: int) -> tuple[int, int]:
    """Do the operation in a new process in which call `at` fails; return (its exit status, the number of calls)."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        status = OTHER
        shim.arm(at, REASONS[at % len(REASONS)], target)
        try:
            with open_gallery(target) as store:
                operation.run(store, other)
            status = STORED
        except StorageError:
            status = FAILED
        finally:
            count = shim.calls()
            shim.arm(0, 0, None)
            os.write(write_end, str(count).encode())
            os._exit(status)
    os.close(write_end)
    with open(read_end, "rb") as file:
        count = int(file.read() or b"0")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), count
