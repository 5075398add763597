"""How much memory a process has had at its highest. Imports nothing of ours."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")


def high_water(status: Path = STATUS) -> int | None:
    """The highest resident memory so far of the process with that status file, in bytes; None where the system does not say.

    It reads VmHWM, which only Linux has. getrusage would not do: its ru_maxrss keeps, across fork and exec, what the process that
    started this one had in memory.
    """
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("VmHWM:")]
    return int(found[0][1]) * 1024 if found else None
