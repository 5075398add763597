"""Read the peak memory of a process. Imports nothing of ours."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")


def high_water(status: Path = STATUS) -> int | None:
    """Return the peak resident memory of the process with that status file, in bytes; None where the system does not say.

    It reads VmHWM, which only Linux has. The ru_maxrss of getrusage would be wrong, because across fork and exec it keeps the peak of
    the process that started this one.
    """
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    peaks = [line.split() for line in lines if line.startswith("VmHWM:")]
    return int(peaks[0][1]) * 1024 if peaks else None
