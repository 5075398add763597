"""Describe the machine that runs a measurement, and warn about conditions on it that make the times unreliable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from engines.probe import run_probe
from runtime.extraction.processes import usable_cores
from runtime.files import manifest
from runtime.options.backends import PACKAGES

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
# A load above this fraction of the usable cores, taken before a measurement, means that other programs are running.
BUSY = 0.5


def describe_host(*, device: str, threads: int | None) -> dict[str, Any]:
    """Return the machine's hardware, software versions and present load. A value that the system does not report is None.

    With `device` "cuda", `gpu` is {name, compute_capability, memory_mib} of CUDA device 0. `threads` is recorded as it is given;
    None means that the backend uses all cores. `governor` and `load_average` come from the functions with these names.
    """
    return manifest.host() | {
        "usable_cores": usable_cores(),
        "device": device,
        # A child process queries the driver, because the driver must not be loaded into the process that measures.
        "gpu": next(iter(run_probe("cuda").get("gpus", [])), None) if device == "cuda" else None,
        "threads": threads,
        "governor": governor(),
        "load_average": load_average(),
        "tools": manifest.tools("numpy", *PACKAGES, "torch"),
    }


def doubts(host: dict[str, Any]) -> list[str]:
    """Return one line of text for each condition that makes times unreliable. `host` is the result of `describe_host`."""
    warnings = []
    load, cores = host["load_average"], host["usable_cores"]
    if load is not None and cores is not None and load[0] > BUSY * cores:
        warnings.append(
            f"load average {load[0]:.1f} on {cores} cores: other programs are running; stop them for reliable times"
        )
    if host["governor"] not in (None, "performance"):
        warnings.append(
            f"CPU frequency governor {host['governor']}: clock rates change while measuring; select the governor performance"
        )
    return warnings


def governor(path: Path = GOVERNOR) -> str | None:
    """Return the name of the CPU frequency governor of the first core, such as `powersave`, from the file `path`.

    Returns None if the system has no governor, as in a virtual machine or on another system than Linux.
    """
    try:
        return path.read_text().strip()
    except OSError:
        return None


def load_average() -> list[float] | None:
    """Return the mean numbers of runnable processes over the last 1, 5 and 15 minutes.

    Returns None on a system that does not count these processes, such as Windows.
    """
    try:
        return list(os.getloadavg())
    except (AttributeError, OSError):
        return None
