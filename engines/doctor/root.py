"""Find the results of the probes (`engines.probe`) from files alone, for a machine whose file system is mounted or copied.

Runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from engines.board import board, gpu_of, package_version, tensorrt_package
from engines.probe import ProbeResult
from engines.trtexec.run import LOCATIONS
from runtime.host.jetson import read_text

NOT_IN_FILES = "unknown, because files alone do not show it (--root)"


def probe_files(root: Path, environment: Mapping[str, str]) -> Callable[[str], ProbeResult]:
    """Return a function from the name of a probe to its result, for the machine whose file system is at `root`.

    The function replaces `engines.probe.run_probe`. The result of a probe that needs more than files is {"error": reason}.
    `environment` holds the environment variables of that machine; it is empty if they are not known.
    """
    results: dict[str, ProbeResult] = {
        "cuda": _cuda(root, environment),
        "tensorrt": _tensorrt(root),
        "trtexec": _trtexec(root),
    }
    return lambda name: results.get(name, {"error": NOT_IN_FILES})


def _cuda(root: Path, environment: Mapping[str, str]) -> ProbeResult:
    """Return the GPU of a Jetson, found by its chip. A graphics card cannot be found in files."""
    gpu = gpu_of(board(root, environment))
    if gpu is None:
        return {"error": "the device tree names no Jetson chip", "gpus": []}
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", read_text(root / "proc/meminfo"), re.M)
    mib = int(memory[1]) // 1024 if memory else None
    return {"gpus": [{"name": gpu[0], "compute_capability": gpu[1], "memory_mib": mib}]}


def _tensorrt(root: Path) -> ProbeResult:
    version = package_version(root, r"python3-libnvinfer")
    if version is None:
        return {"error": "it is not installed (there is no package python3-libnvinfer)"}
    return {"version": version}


def _trtexec(root: Path) -> ProbeResult:
    version = tensorrt_package(root)
    for path in LOCATIONS:
        if version and (root / path.relative_to("/")).is_file():
            return {"path": str(path), "version": ".".join(version.split(".")[:3])}
    return {"error": f"there is no trtexec in {', '.join(map(str, LOCATIONS))}"}
