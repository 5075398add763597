"""The gate of an export: the file on the check crops against its torch parent, and on the task itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from export.check import Check
from export.precision import Lowered
from runtime.artifact import Artifact
from runtime.backends.onnxruntime import open_onnxruntime
from runtime.check import judge
from runtime.datasets import guess_layout, read_dataset
from runtime.extraction.accuracy import accuracy
from runtime.gate import LIMITS
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
    limits = LIMITS[lowered.precision]
    verdict = judge(check, open_onnxruntime(path, spec), spec, limits)
    beside = path.with_name(f"{path.name}.rounded")
    try:
        if lowered.rounded is not None:
            # beside the file: what a device computes and the CPU hides
            onnx.save(lowered.rounded, beside)
            verdict["rounded"] = judge(check, open_onnxruntime(beside, spec), spec, limits)
            verdict["passed"] = verdict["passed"] and verdict["rounded"]["passed"]
            verdict["failures"] += [f"rounded: {text}" for text in verdict["rounded"]["failures"]]
        if verdict["passed"] and max_map_drop is not None:
            verdict |= judge_map(parent, beside if beside.exists() else path, spec, root, max_map_drop)
    finally:
        beside.unlink(missing_ok=True)
    return verdict


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
