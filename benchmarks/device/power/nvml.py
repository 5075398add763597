"""Read the power of one NVIDIA graphics card from NVML through nvidia-ml-py, or from the output of nvidia-smi."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

# The name of the rail that stands for the power of the whole card, as its driver reports it, without the other parts of the computer.
RAIL = "GPU_BOARD"


def reader(environment: Mapping[str, str] = os.environ) -> Callable[[], dict[str, float]] | None:
    """Return a function that reads the card's present power as {"GPU_BOARD": mW}, for CUDA device 0.

    Returns None if nvidia-ml-py is not installed or NVML does not report the power. The returned function gives {} if a reading fails.
    """
    library = _library()
    if library is None:
        return None
    try:
        library.nvmlInit()
        handle = _handle(library, device(environment))
        library.nvmlDeviceGetPowerUsage(handle)
    except library.NVMLError:
        return None

    def read() -> dict[str, float]:
        try:
            return {RAIL: float(library.nvmlDeviceGetPowerUsage(handle))}
        except library.NVMLError:
            return {}

    return read


def device(environment: Mapping[str, str] = os.environ) -> str:
    """Return the card that is CUDA device 0, in the form that nvidia-smi accepts: an index or a UUID.

    It is the first entry of CUDA_VISIBLE_DEVICES in `environment`, or else 0. On a machine with different cards, this is right only
    with CUDA_DEVICE_ORDER=PCI_BUS_ID, because CUDA numbers the fastest card first by default.
    """
    return environment.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"


def smi_line(command: str, interval_ms: int, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the command line with which nvidia-smi prints the card's power in watts every `interval_ms` milliseconds.

    `command` is the path of nvidia-smi.
    """
    query = ["--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    return [command, *query, f"--id={device(environment)}", f"--loop-ms={interval_ms}"]


def parse_smi(line: str) -> dict[str, float] | None:
    """Return the power in a line of nvidia-smi as {"GPU_BOARD": mW}, such as {"GPU_BOARD": 62130.0} for `62.13` (watts).

    Returns None for a line that is not a number, such as "[N/A]".
    """
    # float() would also accept "nan".
    number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*", line)
    return {RAIL: 1000 * float(number[1])} if number else None


def _handle(library: Any, name: str) -> Any:
    if name.isdigit():
        return library.nvmlDeviceGetHandleByIndex(int(name))
    return library.nvmlDeviceGetHandleByUUID(name)


def _library() -> Any:
    """Return the module of nvidia-ml-py, or None if it is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml
