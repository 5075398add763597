"""Find TensorRT's messages about too little memory in the output of a build, and say what to do about them."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Messages about too little memory, of TensorRT 7 to 11 and of a Jetson's driver.
MEMORY = re.compile(
    r"Device memory is insufficient|Tactic Device request|due to (?:insufficient memory|oom)|sufficient workspace memory"
    r"|(?:increas|decreas)ing (?:the )?workspace|GPU memory \(\d+ bytes\) could not be allocated|exceeded mem(?:ory)? budget"
    r"|bytes of scratch space|NvMapMemAlloc\w*:.*error 12|OutOfMemory|\bout of memory\b",
    re.I,
)
# "Tactic Device request: 414MB Available: 216MB."
REQUEST = re.compile(r"request: (\d+)\s?MB Available: (\d+)\s?MB")
# Messages that a larger workspace would avoid.
TOO_SMALL = re.compile(
    r"sufficient workspace memory|increasing (?:the )?workspace|exceeded mem(?:ory)? budget|bytes of scratch space",
    re.I,
)
WORKSPACE = re.compile(r"--(?:memPoolSize=workspace:|workspace=)(\d{1,9})")
# If the memory available to a tactic is at least this fraction of the workspace, the workspace is the limit, and not the device.
NEAR = 0.9
USE_LESS_MEMORY = "free memory on the device, or give a smaller --workspace or --batch"


def memory_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Return those of the build's output `lines` that are about too little memory, each once.

    Of the lines in which a tactic (a kernel that TensorRT tries) requests memory, only that with the largest request is returned, and
    it comes first.
    """
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
    """Return the workspace in MiB with which trtexec was started, from its output `text`; None if the text does not name it."""
    option = WORKSPACE.search(text)
    return int(option[1]) if option else None


def memory_advice(lines: Iterable[str], workspace: int | None) -> str:
    """Return an instruction for the user after a build with too little memory and with `workspace` MiB (None: not known).

    `lines` are the result of `memory_lines`. If the workspace is the limit, the instruction is to give a larger one; otherwise it is
    to free memory or to use less.
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
