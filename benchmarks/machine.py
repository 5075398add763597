"""The state of the machine while something is timed: load, frequency governor, library versions. Changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from runtime.manifest import host, tools

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def state() -> dict[str, Any]:
    """{system, machine, processor, cores, usable_cores, load, governor, tools}; what cannot be read is null."""
    try:
        governor = GOVERNOR.read_text().strip()
    except OSError:
        governor = None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = list(os.getloadavg()) if hasattr(os, "getloadavg") else None
    return host() | {
        "usable_cores": usable,
        "load": load,
        "governor": governor,
        "tools": tools("numpy", "onnxruntime", "onnxruntime-gpu", "torch"),
    }
