"""Find TensorRT's messages about memory in the output of a build, and give the advice that follows from them."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Messages of TensorRT 7 to 11, and those that a Jetson's driver prints without a logger.
MEMORY = re.compile(
    r"Device memory is insufficient|Tactic Device request|due to (?:insufficient memory|oom)|sufficient workspace memory"
    r"|(?:increas|decreas)ing (?:the )?workspace|GPU memory \(\d+ bytes\) could not be allocated|exceeded mem(?:ory)? budget"
    r"|bytes of scratch space|NvMapMemAlloc\w*:.*error 12|OutOfMemory|\bout of memory\b",
    re.I,
)
# "Tactic Device request: 414MB Available: 216MB."
REQUEST = re.compile(r"request: (\d+)\s?MB Available: (\d+)\s?MB")
# Messages about a lack that a larger workspace would remedy.
TOO_SMALL = re.compile(
    r"sufficient workspace memory|increasing (?:the )?workspace|exceeded mem(?:ory)? budget|bytes of scratch space",
    re.I,
)
WORKSPACE = re.compile(r"--(?:memPoolSize=workspace:|workspace=)(\d{1,9})")
# If a tactic is offered at least this part of the workspace, the workspace limits it, not the device's memory.
NEAR = 0.9
USE_LESS_MEMORY = "free memory on the device, or give a smaller --workspace or --batch"


def memory_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the lines about too little memory, without repetitions; of the requests for a tactic only the largest, first."""
    kept: list[str] = []
    largest, most = None, -1
    for line in lines:
        if not MEMORY.search(line):
            continue
        if request := REQUEST.search(line):
            if int(request[1]) > most:
                largest, most = line, int(request[1])
        elif line not in kept:
            kept.append(line)
    return tuple(([largest] if largest else []) + kept)


def workspace_mib(text: str) -> int | None:
    """Return the workspace in the command line that trtexec repeats in its output; None where that names none."""
    option = WORKSPACE.search(text)
    return int(option[1]) if option else None


def memory_advice(lines: Iterable[str], workspace: int | None) -> str:
    """Return what to do about `memory_lines`, for a build with a `workspace` in MiB.

    The advice is a larger workspace where that is the limit, else to free memory or to use less of it.
    """
    current = f" (now {workspace} MiB)" if workspace else ""
    for line in lines:
        if request := REQUEST.search(line):
            requested, available = int(request[1]), int(request[2])
            if workspace and NEAR * workspace <= available < requested:
                return f"give --workspace {requested} or more{current}"
            return USE_LESS_MEMORY
        if TOO_SMALL.search(line):
            return f"give a larger --workspace{current} or a smaller --batch"
    return USE_LESS_MEMORY
