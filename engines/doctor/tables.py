"""Print the report of `engines doctor` as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.console import print_table
from runtime.options.backends import OTHER_LIBRARIES

# {probe: label} of the optional libraries
OPTIONAL = OTHER_LIBRARIES | {"simplejpeg": "simplejpeg"}


def print_report(report: Mapping[str, Any]) -> None:
    """Print `report` as tables: the machine, what it can do, and each model.

    `report` is the result of `diagnose`; its key `models`, if it has one, lists results of `examine_model`.
    """
    print_table("this machine" if report["root"] == "/" else report["root"], ["", ""], _machine(report))
    tasks = report["can"].items()
    print_table(
        "it can", ["", "", ""], [[task, _yes(ability["ok"]), ability["why"]] for task, ability in tasks]
    )
    for model in report.get("models", []):
        print_table(f"{model['path']}: {'ready' if model['ok'] else 'not ready'}", ["", ""], _model(model))


def _machine(report: Mapping[str, Any]) -> list[list[object]]:
    system, board, cuda, memory = (report[key] for key in ("system", "board", "cuda", "memory_gib"))
    jetson = board["l4t"] and f"L4T {board['l4t']}, JetPack {board['jetpack'] or 'unknown'}"
    names = (board["model"], board["module"], board["soc"], jetson)
    python = f", Python {system['python']}" if system["python"] else ""
    cores = f", {system['cores']} cores usable" if system["cores"] else ""
    mode = report["power_mode"]
    swap = {None: "swap unknown", 0.0: "no swap"}.get(
        memory["swap"], f"swap {memory['swap']} GiB, {memory['swap_free']} GiB free"
    )
    known = memory["total"] is not None
    agree = {True: "the same version", False: "NOT the same version", None: "not both installed"}[
        report["agree"]
    ]
    gpus: list[list[object]] = [
        ["GPU", f"{gpu['name']}, compute capability {gpu['compute_capability']}, {gpu['memory_mib']} MiB"]
        for gpu in cuda.get("gpus", [])
    ]
    rows: list[list[object]] = [
        ["board", ", ".join(filter(None, names)) or "not a Jetson"],
        ["power mode", (mode["name"] or mode["id"]) if mode else "unknown" if board["l4t"] else "-"],
        ["system", f"{system['os']}, kernel {system['kernel'] or 'unknown'}, {system['machine']}{python}"],
        ["cpu", f"{system['cpu'] or system['machine']}{cores}"],
        [
            "memory",
            f"{memory['total']} GiB, {memory['available']} GiB available, {swap}" if known else "unknown",
        ],
        [
            "disk",
            f"{report['disk_free_gib']} GiB free {'in this folder' if report['root'] == '/' else 'at its root'}",
        ],
        ["CUDA driver", _driver(report)],
        ["CUDA toolkit", report["cuda_toolkit"] or "none found"],
        *(gpus or [["GPU", "none"]]),
    ]
    rows += [["TensorRT, Python", _tool(report["tensorrt"])], ["TensorRT, trtexec", _tool(report["trtexec"])]]
    rows.append(["both TensorRTs", agree])
    if report["tensorrt_package"]:
        rows.append(["TensorRT, package", report["tensorrt_package"]])
    rows.append(["ONNX Runtime", _onnxruntime(report["onnxruntime"])])
    rows += [[title, _tool(report[name])] for name, title in OPTIONAL.items()]
    return rows


def _driver(report: Mapping[str, Any]) -> str:
    cuda = report["cuda"]
    release = f" ({report['driver_release']})" if report["driver_release"] else ""
    if "driver" in cuda:
        return f"CUDA {cuda['driver']}{release}"
    return str(cuda.get("error") or report["driver_release"] or "unknown")


def _tool(result: Mapping[str, Any]) -> str:
    path = f", {result['path']}" if "path" in result else ""
    clash = f" ({result['clash']})" if "clash" in result else ""
    return f"{result['version']}{path}{clash}" if "version" in result else str(result["error"])


def _onnxruntime(result: Mapping[str, Any]) -> str:
    if "error" in result:
        return str(result["error"])
    names = [f"{name}{'' if runs else ' (does not start)'}" for name, runs in result["providers"].items()]
    clash = f" ({result['clash']})" if "clash" in result else ""
    return f"{result['version']}: {', '.join(names)}{clash}"


def _model(model: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    if engine := model["engine"]:
        builder = f"{engine['precision']} by {engine['name']} of {engine['library']} {engine['version']}"
        rows += [["engine", f"{builder}, batch {engine['batch']}"], ["build it", engine["command"]]]
    if memory := model["expected_memory_mib"]:
        estimate = f"at least {memory['run_at_least']} MiB to run, at most about {memory['build_at_most']} MiB to build"
        rows.append(["memory", estimate])
    for lack in model["missing"]:
        rows.append(["missing", lack["what"]])
        if lack["fix"]:
            rows.append(["fix", lack["fix"]])
    return rows or [["", model["why"]]]


def _yes(ok: bool) -> str:
    return "yes" if ok else "no"
