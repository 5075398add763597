"""Wait for the end of processes, and for what they write, without asking again and again."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path


def ended(*pids: int, seconds: float = 30) -> bool:
    """Whether the processes, which need not be children of this one, end within `seconds`. A zombie has ended."""
    until = time.monotonic() + seconds
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not readable(descriptor, until - time.monotonic()):
                return False
        finally:
            os.close(descriptor)
    return True


def read_fifo(path: Path, seconds: float = 60) -> str:
    """Return the first thing that a process writes into the FIFO `path`; AssertionError after `seconds`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert readable(descriptor, seconds), f"nothing was written into {path.name}"
        return os.read(descriptor, 4096).decode()
    finally:
        os.close(descriptor)


def readable(descriptor: int, seconds: float) -> bool:
    """Whether the descriptor has something to read within `seconds`; that of a process has when the process ends."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(seconds, 0) * 1000))
