"""The gate of an export: compare the file with its torch parent on the check crops and, if asked, by mAP on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from export.check import Check
from export.precision import ExportedGraph
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
    exported: ExportedGraph,
    *,
    root: Path,
    max_map_drop: float | None,
) -> dict[str, Any]:
    """Run the whole gate on the file at `path` and return the verdict {passed, failures, ...}.

    The file is judged on the check crops. If there is a graph that emulates the device's FP16, that graph is judged as well. With
    `max_map_drop`, in points of mAP, the model is also evaluated on the data set at `root`.
    """
    limits = LIMITS[exported.precision]
    verdict = judge(check, open_onnxruntime(path, spec), spec, limits)
    emulated = path.with_name(f"{path.name}.rounded")
    try:
        if exported.emulated is not None:
            # This graph shows what a device computes in FP16 and the CPU hides.
            onnx.save(exported.emulated, emulated)
            verdict["rounded"] = judge(check, open_onnxruntime(emulated, spec), spec, limits)
            verdict["passed"] = verdict["passed"] and verdict["rounded"]["passed"]
            verdict["failures"] += [f"rounded: {text}" for text in verdict["rounded"]["failures"]]
        if verdict["passed"] and max_map_drop is not None:
            verdict |= judge_map(parent, emulated if emulated.exists() else path, spec, root, max_map_drop)
    finally:
        emulated.unlink(missing_ok=True)
    return verdict


def judge_map(parent: Artifact, path: Path, spec: InputSpec, root: Path, limit: float) -> dict[str, Any]:
    """Compare the mAP of parent and file: {passed, failures, map: {parent, artifact, drop, limit}} on the data set at `root`."""
    dataset = read_dataset(str(root), guess_layout(str(root)))
    session = open_onnxruntime(path, spec)
    artifact = Artifact(path, {}, spec, parent.dim, parent.sha256, session)
    before, after = (accuracy(model, dataset)["mAP"] for model in (parent, artifact))
    drop = 100 * (before - after)
    failures = [f"mAP drops by {drop:.2f} points, more than {limit}"] if drop > limit else []
    return {
        "passed": not failures,
        "failures": failures,
        "map": {"parent": before, "artifact": after, "drop": drop, "limit": limit},
    }
