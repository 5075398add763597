"""The power of one NVIDIA graphics card: NVML through nvidia-ml-py, or what nvidia-smi prints. Measures nothing itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

# the whole card as its driver counts it, without the computer around it
RAIL = "GPU_BOARD"


def reader(environment: Mapping[str, str] = os.environ) -> Callable[[], dict[str, float]] | None:
    """A callable that gives {"GPU_BOARD": mW} of the card CUDA calls device 0; None where NVML or its power is not there."""
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
    """The card that CUDA calls device 0, as nvidia-smi takes it: an index or a UUID.

    With several kinds of cards set CUDA_DEVICE_ORDER=PCI_BUS_ID: CUDA's own order puts the fastest first.
    """
    return environment.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"


def smi_line(command: str, interval_ms: int, environment: Mapping[str, str] = os.environ) -> list[str]:
    """The words that let nvidia-smi print the card's watts every `interval_ms`."""
    asked = ["--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    return [command, *asked, f"--id={device(environment)}", f"--loop-ms={interval_ms}"]


def parse_smi(line: str) -> dict[str, float] | None:
    """`62.13` watts as {"GPU_BOARD": 62130.0}; None for "[N/A]" and whatever is no number."""
    # float() would take "nan" too
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*", line)
    return {RAIL: 1000 * float(found[1])} if found else None


def _handle(library: Any, name: str) -> Any:
    if name.isdigit():
        return library.nvmlDeviceGetHandleByIndex(int(name))
    return library.nvmlDeviceGetHandleByUUID(name)


def _library() -> Any:
    """nvidia-ml-py's module, or None."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml
