"""Results of `engines.probe` for a machine of which only the files are available, such as a mounted disk. Runs nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from engines.board import board, gpu_of, package_version, tensorrt_package
from engines.probe import ProbeResult
from engines.trtexec.run import LOCATIONS
from runtime.host.jetson import read_text

NOT_IN_FILES = "the files of a machine do not tell (--root)"


def probe_files(root: Path, environment: Mapping[str, str]) -> Callable[[str], ProbeResult]:
    """Return a function that replaces `engines.probe.run_probe` for the file system at `root`.

    Its result is {"error": ...} for a probe that files cannot answer.
    """
    results: dict[str, ProbeResult] = {
        "cuda": _cuda(root, environment),
        "tensorrt": _tensorrt(root),
        "trtexec": _trtexec(root),
    }
    return lambda name: results.get(name, {"error": NOT_IN_FILES})


def _cuda(root: Path, environment: Mapping[str, str]) -> ProbeResult:
    """Find a Jetson's GPU by its chip. No file names a graphics card."""
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
