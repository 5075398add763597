"""The machine that numbers were taken on, and what about it makes them doubtful. Knows nothing of models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from engines.probe import run_probe
from runtime.extraction.processes import usable_cores
from runtime.files import manifest
from runtime.options.backends import PACKAGES

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
# Load above this part of the usable cores when nothing of ours runs yet: somebody else is working here.
BUSY = 0.5


def describe_host(*, device: str, threads: int | None) -> dict[str, Any]:
    """The machine, the load before the measurement, and how it is used; null where this system does not say.

    `gpu` is {name, compute_capability, memory_mib} of CUDA device 0, for `device` cuda.
    `threads` null is the engine's own choice (all cores); `load_average` are means over 1, 5 and 15 minutes.
    """
    return manifest.host() | {
        "usable_cores": usable_cores(),
        "device": device,
        # the driver is asked in a child process: nothing of it stays in the one that measures
        "gpu": next(iter(run_probe("cuda").get("gpus", [])), None) if device == "cuda" else None,
        "threads": threads,
        "governor": governor(),
        "load_average": load_average(),
        "tools": manifest.tools("numpy", *PACKAGES, "torch"),
    }


def doubts(host: dict[str, Any]) -> list[str]:
    """What about `describe_host`'s answer makes times unreliable, in sentences for people."""
    found = []
    load, cores = host["load_average"], host["usable_cores"]
    if load is not None and cores is not None and load[0] > BUSY * cores:
        found.append(f"load average {load[0]:.1f} on {cores} cores: something else runs here")
    if host["governor"] not in (None, "performance"):
        found.append(f"CPU frequency governor {host['governor']}: clocks change while measuring")
    return found


def governor(path: Path = GOVERNOR) -> str | None:
    """The first core's frequency governor; None where there is none to read (virtual machines, not Linux)."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def load_average() -> list[float] | None:
    """Runnable processes on average over the last 1, 5 and 15 minutes; None where the system does not count."""
    try:
        return list(os.getloadavg())
    except (AttributeError, OSError):
        return None
