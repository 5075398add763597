"""The gate of an export: the file on the check crops against its torch parent, and on the task itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import onnx

from export.check import Check, run_check
from export.precision import Lowered
from runtime.accuracy import accuracy
from runtime.datasets import guess_layout, read_dataset
from runtime.gate import LIMITS, compare, failures
from runtime.onnxruntime_session import open_onnxruntime
from runtime.session import Artifact, NonFiniteFeatures
from runtime.spec import InputSpec


def verdict_on(
    check: Check,
    parent: Artifact,
    path: Path,
    spec: InputSpec,
    lowered: Lowered,
    *,
    root: Path,
    max_map_drop: float | None,
) -> dict[str, Any]:
    """The whole gate on the file at `path`: the crops, what a device would compute, and mAP on the data set at `root` where asked."""
    verdict = judge(check, path, spec, lowered.precision)
    for name, graph in lowered.judged.items():
        # beside the file: what a device computes and the CPU hides
        beside = path.with_name(f"{path.name}.{name}")
        try:
            onnx.save(graph, beside)
            verdict[name] = judge(check, beside, spec, lowered.precision)
        finally:
            beside.unlink(missing_ok=True)
        verdict["passed"] = verdict["passed"] and verdict[name]["passed"]
        verdict["failures"] += [f"{name}: {text}" for text in verdict[name]["failures"]]
    if verdict["passed"] and max_map_drop is not None:
        verdict |= judge_map(parent, path, spec, root, max_map_drop)
    return verdict


def judge(check: Check, path: Path, spec: InputSpec, precision: str) -> dict[str, Any]:
    """The gate: run the ONNX file on the check's crops. {passed, failures, limits, numbers}."""
    limits = LIMITS[precision]
    verdict: dict[str, Any] = {"limits": dataclasses.asdict(limits)}
    try:
        numbers = compare(check.features, run_check(check, open_onnxruntime(path, spec), spec))
    except NonFiniteFeatures as error:
        return verdict | {"passed": False, "failures": [str(error)]}
    found = failures(numbers, limits)
    return verdict | {"passed": not found, "failures": found, "numbers": numbers}


def judge_map(parent: Artifact, path: Path, spec: InputSpec, root: Path, limit: float) -> dict[str, Any]:
    """The gate on the task itself: {passed, failures, map: {parent, artifact, drop, limit}} on the data set at `root`."""
    dataset = read_dataset(str(root), guess_layout(str(root)))
    session = open_onnxruntime(path, spec)
    artifact = Artifact(path, {}, spec, parent.dim, parent.sha256, session)
    before, after = (accuracy(one, dataset)["mAP"] for one in (parent, artifact))
    drop = 100 * (before - after)
    found = [f"mAP drops by {drop:.2f} points, more than {limit}"] if drop > limit else []
    return {
        "passed": not found,
        "failures": found,
        "map": {"parent": before, "artifact": after, "drop": drop, "limit": limit},
    }
