"""The gate of an export: compare the file with its original by the features of the check crops and, optionally, by mAP.

The original is the torch model, or the adopted ONNX file of another project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from export.check import Check
from export.precision import ExportedGraph
from runtime.artifact import Artifact
from runtime.backends.onnxruntime import open_onnxruntime
from runtime.checks.check_crops import judge
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
    """Return the verdict on the exported file at `path`, the dict {passed, failures, limits, numbers}.

    `runtime.checks.check_crops.judge` compares the features that the file computes for the crops of `check` with those of the
    original, and returns this dict; `numbers` has the measured differences. If `exported.emulated` is not None, it is a graph
    that rounds like a device in FP16. It is judged in the same way, and its verdict is added under the key `rounded`. Then
    `passed` is true only if the file and this graph both pass.

    If `max_map_drop`, in points of mAP, is given and the features pass, the mAPs of two models on the data set at `root` are
    compared too, and added under the key `map`. The models are the original `parent` and the emulated graph or, if there is
    none, the file. `spec` is the input of the file.
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
            file = emulated if emulated.exists() else path
            verdict |= judge_map(parent, file, spec, root, max_map_drop, dim=check.features.shape[1])
    finally:
        emulated.unlink(missing_ok=True)
    return verdict


def judge_map(
    parent: Artifact, path: Path, spec: InputSpec, root: Path, limit: float, *, dim: int
) -> dict[str, Any]:
    """Return {passed, failures, map: {parent, artifact, drop, limit}}, a comparison of two mAPs on the data set at `root`.

    In `map`, `parent` and `artifact` are the mAPs (0..1) of the original and of the file at `path`; `drop` and `limit` are in
    points of mAP (0..100). `passed` is False if `drop` is above `limit`. `spec` is the input of the file, and `dim` the
    number of values in its features.
    """
    dataset = read_dataset(str(root), guess_layout(str(root)))
    session = open_onnxruntime(path, spec)
    artifact = Artifact(path, {}, spec, dim, parent.sha256, session)
    before, after = (accuracy(model, dataset)["mAP"] for model in (parent, artifact))
    drop = 100 * (before - after)
    failures = [f"mAP drops by {drop:.2f} points, more than the allowed {limit}"] if drop > limit else []
    return {
        "passed": not failures,
        "failures": failures,
        "map": {"parent": before, "artifact": after, "drop": drop, "limit": limit},
    }


def projection_summary(manifest: dict[str, Any]) -> list[list[object]]:
    """Return the row of a summary about the projection that `manifest` records; none for a file without one."""
    entry = manifest["output"].get("projection")
    if entry is None:
        return []
    text = f"{entry['from']} -> {entry['dim']} numbers, fitted on {entry['images']} crops"
    cost = manifest["gate"].get("projection")
    if cost is None:
        return [["projection", f"{text}; its cost in mAP was not measured"]]
    before, after = 100 * cost["all"], 100 * cost["projected"]
    score = f"mAP {before:.1f} -> {after:.1f} % ({after - before:+.2f} points)"
    return [["projection", f"{text}: {score}, {cost['kept']:.0%} of the squared length kept"]]


def gate_summary(gate: dict[str, Any]) -> str:
    """Return one line about the verdict `gate` of a manifest."""
    if gate["passed"] is None:
        return "OFF"
    numbers = gate["numbers"]
    return (
        f"passed on {numbers['images']} images: lowest cosine {numbers['cosine_min']:.7f}, largest difference "
        f"{numbers['difference_max']:.1e}, top-1 {numbers['top1']:.3f}, top-10 {numbers['top10']:.3f}"
    )
