"""`python -m engines doctor`: what this machine is and what of this project it can run. Changes nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engines.board import board, cuda_version, driver_release, power_mode, tensorrt_package
from engines.doctor.root import answers_of
from engines.machine import Machine
from engines.manifest import FLAVOURS, preflight
from engines.probe import PROBES, Answer, ask
from engines.trtexec.command import SUPPORTED, is_supported
from runtime.errors import UserError
from runtime.files.manifest import read_manifest
from runtime.host.jetson import read_text

GIB = 1 << 30
MEMORY = {"total": "MemTotal", "available": "MemAvailable", "swap": "SwapTotal", "swap_free": "SwapFree"}
Ask = Callable[[str], Answer]


def diagnose(
    *, root: Path = Path("/"), environment: Mapping[str, str] = os.environ, asking: Ask | None = None
) -> dict[str, Any]:
    """All that `doctor` tells: {board, system, memory_gib, disk_free_gib, the answers of every probe, agree, can, ...}.

    `root` is the file system whose system files are read, `asking` gives the answers of engines.probe: by default they are this
    machine's own, and of another root what its files say. `agree` is whether trtexec and Python's TensorRT are the same version,
    None where one is missing. `can` maps a task to {ok, why}.
    """
    here = root.resolve() == Path("/")
    asking = asking or (ask if here else answers_of(root, environment))
    answers = {name: asking(name) for name in PROBES}
    agree = _agree(answers["tensorrt"], answers["trtexec"])
    return {
        "root": str(root),
        "board": board(root, environment),
        "power_mode": power_mode(root, nvpmodel_says() if here else ""),
        "cuda_toolkit": cuda_version(root, environment),
        "driver_release": driver_release(root),
        "tensorrt_package": tensorrt_package(root),
        "system": system(root),
        "memory_gib": memory_gib(root),
        "disk_free_gib": round(shutil.disk_usage(Path.cwd() if here else root).free / GIB, 1),
        **answers,
        "agree": agree,
        "can": abilities(answers, agree),
    }


def nvpmodel_says() -> str:
    """What `nvpmodel -q` prints, which only asks; "" without it, or where it wants root."""
    try:
        asked = ["nvpmodel", "-q"]
        return subprocess.run(asked, capture_output=True, text=True, errors="replace", timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def system(root: Path) -> dict[str, Any]:
    """{os, kernel, machine, python, cpu, cores}: what runs here, in words, and the cores this process may use.

    Of the files of another machine `python` and `cores` are None, and a Jetson's `machine` is aarch64.
    """
    here = root.resolve() == Path("/")
    elsewhere = not here and board(root, {})["soc"] is not None
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', read_text(root / "etc/os-release"), re.M)
    # ARM's cpuinfo names no model
    cpu = re.search(r"^model name\s*:\s*(.+)$", read_text(root / "proc/cpuinfo"), re.M)
    return {
        "os": name[1] if name else platform.system(),
        "kernel": read_text(root / "proc/sys/kernel/osrelease").strip() or None,
        "machine": "aarch64" if elsewhere else platform.machine(),
        "python": platform.python_version() if here else None,
        "cpu": cpu[1] if cpu else None,
        "cores": _cores() if here else None,
    }


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def memory_gib(root: Path) -> dict[str, float | None]:
    """{total, available, swap, swap_free} of main memory and swap in GiB; None where /proc does not say."""
    text = read_text(root / "proc/meminfo")
    found = {}
    for key, name in MEMORY.items():
        match = re.search(rf"^{name}:\s*(\d+) kB$", text, re.M)
        found[key] = round(int(match[1]) * 1024 / GIB, 1) if match else None
    return found


def abilities(answers: Mapping[str, Answer], agree: bool | None) -> dict[str, dict[str, Any]]:
    """Task -> {ok, why}: what the probes' answers allow; `why` says with what, or what is missing."""
    ort, tensorrt, rtx = answers["onnxruntime"], answers["tensorrt"], answers["tensorrt_rtx"]
    gpus = answers["cuda"].get("gpus", [])
    gpu = [] if gpus else [f"no GPU: {answers['cuda'].get('error', 'CUDA lists none')}"]
    binding = [answers["binding"]["error"]] if "error" in answers["binding"] else []
    trtexec = answers["trtexec"]
    disagree = []
    if agree is False:
        disagree = [f"TensorRT {tensorrt['version']} cannot load what trtexec {trtexec['version']} builds"]
    return {
        "run model.onnx on the CPU": _ability(ort, _provider(ort, "CPUExecutionProvider")),
        "run model.onnx with OpenVINO": _ability(answers["openvino"], []),
        "run model.onnx on the GPU": _ability(ort, gpu + _provider(ort, "CUDAExecutionProvider")),
        "build engines with trtexec": _ability(trtexec, gpu + _supported(trtexec) + disagree),
        "build engines with Python": _ability(tensorrt, gpu + _supported(tensorrt)),
        # ahead of time, for other machines
        "build TensorRT-RTX engines": _ability(rtx, []),
        "run TensorRT engines": _ability(tensorrt, (gpu or binding) + _supported(tensorrt)),
        "run TensorRT-RTX engines": _ability(rtx, gpu or binding),
    }


def _ability(tool: Answer, missing: list[str]) -> dict[str, Any]:
    missing = ([tool["error"]] if "error" in tool else []) + missing
    return {"ok": not missing, "why": "; ".join(dict.fromkeys(missing)) or f"version {tool['version']}"}


def _provider(ort: Answer, name: str) -> list[str]:
    if "error" in ort or ort["providers"].get(name):
        return []
    clash = f" ({ort['clash']})" if "clash" in ort else ""
    if name not in ort["providers"]:
        return [f"this ONNX Runtime {ort['version']} has no {name}{clash}"]
    lacking = ort.get("lacks", {}).get(name, "one of its libraries")
    return [f"{name} is listed but does not start: {lacking} is missing{clash}"]


def _supported(tool: Answer) -> list[str]:
    # "10.3.0.26.post1" is a version too
    numbers = re.findall(r"\d+", tool.get("version", ""))
    if "error" in tool or is_supported(tuple(map(int, numbers))):
        return []
    return [f"TensorRT {tool['version']} is not supported; supported: {SUPPORTED}"]


def _agree(tensorrt: Answer, trtexec: Answer) -> bool | None:
    if "error" in tensorrt or "error" in trtexec:
        return None
    one, other = (answer["version"].split(".")[:3] for answer in (tensorrt, trtexec))
    return bool(one == other)


def against(engine: Path, report: Mapping[str, Any]) -> list[str]:
    """What speaks against loading an engine on the machine of this report, each with what to run next; [] for nothing."""
    try:
        return preflight(engine, _machine(report, library_of(engine)))
    except UserError as refusal:
        return [str(refusal)]


def library_of(engine: Path) -> str:
    """tensorrt or tensorrt_rtx: what loads an engine, by its manifest; tensorrt where it has none that can be read."""
    try:
        builder = read_manifest(engine, verify=False).get("builder")
    except UserError:
        return "tensorrt"
    name = str(builder.get("name")) if isinstance(builder, dict) else ""
    return FLAVOURS.get(name, "tensorrt")


def _machine(report: Mapping[str, Any], library: str) -> Machine:
    gpu = (report["cuda"].get("gpus") or [{}])[0]
    return Machine(
        tensorrt=report[library].get("version"),
        compute_capability=gpu.get("compute_capability"),
        gpu=gpu.get("name"),
        system=platform.system(),
        processor=report["system"]["machine"],
        l4t=report["board"]["l4t"],
        jetpack=report["board"]["jetpack"],
    )
