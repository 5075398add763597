"""Describe a machine and which tasks of this project it can run. Changes nothing on it."""

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
from engines.doctor.root import probe_files
from engines.machine import Machine
from engines.manifest import FLAVOURS, preflight
from engines.probe import PROBES, ProbeResult, run_probe
from engines.trtexec.command import SUPPORTED, is_supported
from runtime.errors import UserError
from runtime.files.manifest import read_manifest
from runtime.host.jetson import read_text
from runtime.options.backends import OTHER_LIBRARIES

GIB = 1 << 30
MEMORY = {"total": "MemTotal", "available": "MemAvailable", "swap": "SwapTotal", "swap_free": "SwapFree"}
Probe = Callable[[str], ProbeResult]


def diagnose(
    *, root: Path = Path("/"), environment: Mapping[str, str] = os.environ, probe: Probe | None = None
) -> dict[str, Any]:
    """Return the report of `doctor` as a dict of JSON values.

    Its keys are `root`, `board`, `power_mode`, `cuda_toolkit`, `driver_release`, `tensorrt_package`, `system`, `memory_gib`,
    `disk_free_gib`, `agree`, `can`, and the name of each probe, such as `cuda`, with its result. `agree` says whether trtexec and
    Python's TensorRT have the same version; it is None if one is missing. `can` maps each task to {ok, why}.

    `root` is the root folder of the file system of the machine to describe, and `environment` holds the environment variables of that
    machine; it is empty if they are not known. `probe` is a function from the name of a probe (a key of `engines.probe.PROBES`) to its
    result. None means `engines.probe.run_probe` for this machine, and `engines.doctor.root.probe_files` for another root.
    """
    here = root.resolve() == Path("/")
    probe = probe or (run_probe if here else probe_files(root, environment))
    results = {name: probe(name) for name in PROBES}
    agree = _agree(results["tensorrt"], results["trtexec"])
    return {
        "root": str(root),
        "board": board(root, environment),
        "power_mode": power_mode(root, nvpmodel_output() if here else ""),
        "cuda_toolkit": cuda_version(root, environment),
        "driver_release": driver_release(root),
        "tensorrt_package": tensorrt_package(root),
        "system": system(root),
        "memory_gib": memory_gib(root),
        "disk_free_gib": round(shutil.disk_usage(Path.cwd() if here else root).free / GIB, 1),
        **results,
        "agree": agree,
        "can": abilities(results, agree),
    }


def nvpmodel_output() -> str:
    """Return what `nvpmodel -q` prints about the power mode; "" if nvpmodel is missing or cannot be run."""
    try:
        command = ["nvpmodel", "-q"]
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def system(root: Path) -> dict[str, Any]:
    """Describe the system whose root folder is `root` as {os, kernel, machine, python, cpu, cores}.

    `machine` is the architecture, such as "aarch64", and `cores` is the number of cores that this process may use. `kernel` and `cpu`
    are None if the files do not name them. For the files of another machine, `python` and `cores` are None.
    """
    here = root.resolve() == Path("/")
    elsewhere = not here and board(root, {})["soc"] is not None
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', read_text(root / "etc/os-release"), re.M)
    # on ARM, cpuinfo names no model
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
    """Return the main memory {total, available} and the swap {swap, swap_free} in one dict, in GiB; unknown values are None."""
    text = read_text(root / "proc/meminfo")
    memory = {}
    for key, name in MEMORY.items():
        match = re.search(rf"^{name}:\s*(\d+) kB$", text, re.M)
        memory[key] = round(int(match[1]) * 1024 / GIB, 1) if match else None
    return memory


def abilities(results: Mapping[str, ProbeResult], agree: bool | None) -> dict[str, dict[str, Any]]:
    """Return {task: {ok, why}}: whether the machine can do each task, such as "run TensorRT engines".

    `results` maps the name of each probe to its result, and `agree` is as in `diagnose`. `why` is a text with the library's version
    if `ok` is true, else with what is missing.
    """
    ort, tensorrt, rtx = results["onnxruntime"], results["tensorrt"], results["tensorrt_rtx"]
    gpus = results["cuda"].get("gpus", [])
    gpu = [] if gpus else [f"no GPU: {results['cuda'].get('error', 'CUDA lists none')}"]
    binding = [results["binding"]["error"]] if "error" in results["binding"] else []
    trtexec = results["trtexec"]
    disagree = []
    if agree is False:
        disagree = [
            f"TensorRT {tensorrt['version']} cannot load the engines that trtexec {trtexec['version']} builds"
        ]
    return {
        "run model.onnx on the CPU": _ability(ort, _provider(ort, "CPUExecutionProvider")),
        **{
            f"run model.onnx with {label}": _ability(results[library], [])
            for library, label in OTHER_LIBRARIES.items()
        },
        "run model.onnx on the GPU": _ability(ort, gpu + _provider(ort, "CUDAExecutionProvider")),
        "build engines with trtexec": _ability(trtexec, gpu + _supported(trtexec) + disagree),
        "build engines with Python": _ability(tensorrt, gpu + _supported(tensorrt)),
        # TensorRT-RTX builds ahead of time for other machines, so no GPU is needed
        "build TensorRT-RTX engines": _ability(rtx, []),
        "run TensorRT engines": _ability(tensorrt, (gpu or binding) + _supported(tensorrt)),
        "run TensorRT-RTX engines": _ability(rtx, gpu or binding),
    }


def _ability(tool: ProbeResult, missing: list[str]) -> dict[str, Any]:
    missing = ([tool["error"]] if "error" in tool else []) + missing
    return {"ok": not missing, "why": "; ".join(dict.fromkeys(missing)) or f"version {tool['version']}"}


def _provider(ort: ProbeResult, name: str) -> list[str]:
    if "error" in ort or ort["providers"].get(name):
        return []
    clash = f" ({ort['clash']})" if "clash" in ort else ""
    if name not in ort["providers"]:
        return [f"ONNX Runtime {ort['version']} has no {name} here{clash}"]
    missing_library = ort.get("lacks", {}).get(name, "one of its libraries")
    return [f"ONNX Runtime lists {name}, but it does not start: {missing_library} is missing{clash}"]


def _supported(tool: ProbeResult) -> list[str]:
    # "10.3.0.26.post1" is a version too
    numbers = re.findall(r"\d+", tool.get("version", ""))
    if "error" in tool or is_supported(tuple(map(int, numbers))):
        return []
    return [f"TensorRT {tool['version']} is not supported; supported: {SUPPORTED}"]


def _agree(tensorrt: ProbeResult, trtexec: ProbeResult) -> bool | None:
    if "error" in tensorrt or "error" in trtexec:
        return None
    first, second = (result["version"].split(".")[:3] for result in (tensorrt, trtexec))
    return bool(first == second)


def reasons_against_loading(engine: Path, report: Mapping[str, Any]) -> list[str]:
    """Return the reasons why the machine of `report` cannot load the engine, each with the command that helps; [] if there are none.

    `report` is the result of `diagnose`.
    """
    try:
        return preflight(engine, _machine(report, library_of(engine)))
    except UserError as error:
        return [str(error)]


def library_of(engine: Path) -> str:
    """Return the library that loads an engine: "tensorrt_rtx" if its manifest names the builder rtx, else "tensorrt"."""
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
