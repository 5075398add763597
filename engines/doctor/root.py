"""The answers of `engines.probe` for a machine of which only the files are at hand: a mounted disk, a test's folder. Runs nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from engines.board import board, gpu_of, package_version, tensorrt_package
from engines.probe import Answer
from engines.trtexec.run import LOCATIONS
from runtime.host.jetson import read_text

NOT_ASKED = "cannot be asked of files (--root)"


def answers_of(root: Path, environment: Mapping[str, str]) -> Callable[[str], Answer]:
    """What stands in for `engines.probe.ask` for the file system at `root`; {"error": ...} where files cannot say it."""
    answers: dict[str, Answer] = {
        "cuda": _cuda(root, environment),
        "tensorrt": _tensorrt(root),
        "trtexec": _trtexec(root),
    }
    return lambda name: answers.get(name, {"error": NOT_ASKED})


def _cuda(root: Path, environment: Mapping[str, str]) -> Answer:
    """A Jetson's GPU is known by its chip; a card in a slot is not in any file."""
    gpu = gpu_of(board(root, environment))
    if gpu is None:
        return {"error": "no Jetson's chip in its device tree", "gpus": []}
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", read_text(root / "proc/meminfo"), re.M)
    mib = int(memory[1]) // 1024 if memory else None
    return {"gpus": [{"name": gpu[0], "compute_capability": gpu[1], "memory_mib": mib}]}


def _tensorrt(root: Path) -> Answer:
    version = package_version(root, r"python3-libnvinfer")
    return {"version": version} if version else {"error": "not installed (no package python3-libnvinfer)"}


def _trtexec(root: Path) -> Answer:
    version = tensorrt_package(root)
    for place in LOCATIONS:
        if version and (root / place.relative_to("/")).is_file():
            return {"path": str(place), "version": ".".join(version.split(".")[:3])}
    return {"error": f"no trtexec in {', '.join(map(str, LOCATIONS))}"}
