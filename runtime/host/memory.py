"""Read the peak memory of this process."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")


def high_water(status: Path = STATUS) -> int | None:
    """Return the peak resident memory of a process in bytes; None on a system without Linux's /proc.

    `status` is the process's status file, by default that of this process, and the result is its entry VmHWM. The ru_maxrss of
    getrusage would be wrong: after fork and exec it still holds the peak of the process that started this one.
    """
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    peaks = [line.split() for line in lines if line.startswith("VmHWM:")]
    return int(peaks[0][1]) * 1024 if peaks else None
