"""A doctor's report as tables for people. Examines nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.console import print_table

# what a machine may do without
OPTIONAL = {"OpenVINO": "openvino", "simplejpeg": "simplejpeg"}


def show(report: Mapping[str, Any]) -> None:
    """The report as two tables, and one for each model."""
    print_table("this machine" if report["root"] == "/" else report["root"], ["", ""], _machine(report))
    tasks = report["can"].items()
    print_table("it can", ["", "", ""], [[task, _yes(one["ok"]), one["why"]] for task, one in tasks])
    for one in report.get("models", []):
        print_table(f"{one['path']}: {'ready' if one['ok'] else 'not ready'}", ["", ""], _model(one))


def _machine(report: Mapping[str, Any]) -> list[list[object]]:
    here, there, cuda, memory = (report[key] for key in ("system", "board", "cuda", "memory_gib"))
    jetson = there["l4t"] and f"L4T {there['l4t']}, JetPack {there['jetpack'] or 'unknown'}"
    words = (there["model"], there["module"], there["soc"], jetson)
    python = f", Python {here['python']}" if here["python"] else ""
    cores = f", {here['cores']} cores usable" if here["cores"] else ""
    mode = report["power_mode"]
    swap = {None: "swap unknown", 0.0: "no swap"}.get(
        memory["swap"], f"swap {memory['swap']} GiB, {memory['swap_free']} GiB free"
    )
    known = memory["total"] is not None
    agree = {True: "the same version", False: "NOT the same version", None: "not both here"}[report["agree"]]
    gpus: list[list[object]] = [
        ["GPU", f"{gpu['name']}, compute capability {gpu['compute_capability']}, {gpu['memory_mib']} MiB"]
        for gpu in cuda.get("gpus", [])
    ]
    rows: list[list[object]] = [
        ["board", ", ".join(filter(None, words)) or "no Jetson"],
        ["power mode", (mode["name"] or mode["id"]) if mode else "unknown" if there["l4t"] else "-"],
        ["system", f"{here['os']}, kernel {here['kernel'] or 'unknown'}, {here['machine']}{python}"],
        ["cpu", f"{here['cpu'] or here['machine']}{cores}"],
        [
            "memory",
            f"{memory['total']} GiB, {memory['available']} GiB available, {swap}" if known else "unknown",
        ],
        [
            "disk",
            f"{report['disk_free_gib']} GiB free {'in this folder' if report['root'] == '/' else 'there'}",
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
    rows += [[title, _tool(report[name])] for title, name in OPTIONAL.items()]
    return rows


def _driver(report: Mapping[str, Any]) -> str:
    cuda = report["cuda"]
    release = f" ({report['driver_release']})" if report["driver_release"] else ""
    if "driver" in cuda:
        return f"CUDA {cuda['driver']}{release}"
    return str(cuda.get("error") or report["driver_release"] or "unknown")


def _tool(answer: Mapping[str, Any]) -> str:
    where = f", {answer['path']}" if "path" in answer else ""
    clash = f" ({answer['clash']})" if "clash" in answer else ""
    return f"{answer['version']}{where}{clash}" if "version" in answer else str(answer["error"])


def _onnxruntime(answer: Mapping[str, Any]) -> str:
    if "error" in answer:
        return str(answer["error"])
    names = [f"{name}{'' if runs else ' (does not start)'}" for name, runs in answer["providers"].items()]
    clash = f" ({answer['clash']})" if "clash" in answer else ""
    return f"{answer['version']}: {', '.join(names)}{clash}"


def _model(one: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    if engine := one["engine"]:
        made = f"{engine['precision']} by {engine['name']} of {engine['library']} {engine['version']}"
        rows += [["engine", f"{made}, batch {engine['batch']}"], ["build it", engine["command"]]]
    if memory := one["expected_memory_mib"]:
        needs = f"at least {memory['run_at_least']} MiB to run, at most about {memory['build_at_most']} MiB to build"
        rows.append(["memory", needs])
    for lack in one["missing"]:
        rows.append(["missing", lack["what"]])
        if lack["fix"]:
            rows.append(["fix", lack["fix"]])
    return rows or [["", one["why"]]]


def _yes(ok: bool) -> str:
    return "yes" if ok else "no"
