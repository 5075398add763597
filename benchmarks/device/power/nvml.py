"""Read the power of one NVIDIA graphics card from NVML through nvidia-ml-py, or from the output of nvidia-smi."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

# the whole card as its driver counts it, without the rest of the computer
RAIL = "GPU_BOARD"


def reader(environment: Mapping[str, str] = os.environ) -> Callable[[], dict[str, float]] | None:
    """Return a callable that reads {"GPU_BOARD": mW} of CUDA's device 0; None where NVML or its power is not available."""
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
    """Return the card that CUDA calls device 0, as nvidia-smi takes it: an index or a UUID.

    On a machine with different cards, set CUDA_DEVICE_ORDER=PCI_BUS_ID: CUDA's own order starts with the fastest card.
    """
    return environment.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"


def smi_line(command: str, interval_ms: int, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the command line with which nvidia-smi prints the card's watts every `interval_ms`."""
    query = ["--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    return [command, *query, f"--id={device(environment)}", f"--loop-ms={interval_ms}"]


def parse_smi(line: str) -> dict[str, float] | None:
    """Parse `62.13` watts as {"GPU_BOARD": 62130.0}; None for "[N/A]" and anything else that is not a number."""
    # float() would accept "nan" too
    number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*", line)
    return {RAIL: 1000 * float(number[1])} if number else None


def _handle(library: Any, name: str) -> Any:
    if name.isdigit():
        return library.nvmlDeviceGetHandleByIndex(int(name))
    return library.nvmlDeviceGetHandleByUUID(name)


def _library() -> Any:
    """Return the module of nvidia-ml-py, or None where it is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml
