"""What TensorRT says about memory while it builds, and the advice that follows from it. Pure: runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable

# TensorRT 7 to 11, and what a Jetson's driver prints without any logger.
MEMORY = re.compile(
    r"Device memory is insufficient|Tactic Device request|due to (?:insufficient memory|oom)|sufficient workspace memory"
    r"|(?:increas|decreas)ing (?:the )?workspace|GPU memory \(\d+ bytes\) could not be allocated|exceeded mem(?:ory)? budget"
    r"|bytes of scratch space|NvMapMemAlloc\w*:.*error 12|OutOfMemory|\bout of memory\b",
    re.I,
)
# "Tactic Device request: 414MB Available: 216MB."
REQUEST = re.compile(r"request: (\d+)\s?MB Available: (\d+)\s?MB")
# What a larger workspace would mend.
TOO_SMALL = re.compile(
    r"sufficient workspace memory|increasing (?:the )?workspace|exceeded mem(?:ory)? budget|bytes of scratch space",
    re.I,
)
WORKSPACE = re.compile(r"--(?:memPoolSize=workspace:|workspace=)(\d{1,9})")
# A tactic that is offered nearly the whole workspace is held back by it, not by the device.
NEAR = 0.9
LESS = "free memory on the device, or give less --workspace or a smaller --batch"


def memory_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """The lines about too little memory, without repetitions; of the requests for a tactic only the largest."""
    kept: list[str] = []
    largest, most = None, -1
    for line in lines:
        if not MEMORY.search(line):
            continue
        if found := REQUEST.search(line):
            if int(found[1]) > most:
                largest, most = line, int(found[1])
        elif line not in kept:
            kept.append(line)
    return tuple(([largest] if largest else []) + kept)


def workspace_mib(text: str) -> int | None:
    """The workspace that a trtexec was started with, by the command line that it repeats; None where it had none."""
    found = WORKSPACE.search(text)
    return int(found[1]) if found else None


def memory_advice(lines: Iterable[str], workspace: int | None) -> str:
    """What to do about `memory_lines`: a larger workspace (MiB) where that is the limit, else more free memory or less of it used."""
    now = f" than {workspace} (MiB)" if workspace else ""
    for line in lines:
        if found := REQUEST.search(line):
            wanted, available = int(found[1]), int(found[2])
            if workspace and NEAR * workspace <= available < wanted:
                return f"give more --workspace{now}: {wanted} at least"
            return LESS
        if TOO_SMALL.search(line):
            return f"give more --workspace{now}, or a smaller --batch"
    return LESS
