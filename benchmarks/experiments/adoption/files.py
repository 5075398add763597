"""Adopt a foreign file in every precision, evaluate and time the adopted files, and run the commands that use a model on them."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments.adoption.networks import DATA, SCORES, Network
from benchmarks.steps import ROOT
from benchmarks.steps import run as run_step
from runtime.console import note
from runtime.files.manifest import read_manifest
from runtime.stopping import run_apart

# The name of a kind of file -> the options of `export adopt` that make it.
FILES: dict[str, list[str]] = {
    "fp32": [],
    "fp16": ["--precision", "fp16", "--target", "tensorrt"],
    "int8": ["--precision", "int8"],
    "int8trt": ["--precision", "int8", "--target", "tensorrt"],
}


def files(network: Network, path: Path, other: str, work: Path) -> list[dict[str, Any]]:
    """Adopt the file in every precision where `work` lacks it, evaluate it, and return one row for each.

    A row has {file, precision, sha256, bytes, gate, int8_groups, groups, anny_reid, other}: `gate` has the measured differences from
    the original, and of the `groups` groups of layers, `int8_groups` are in INT8 (None for a float file).
    """
    rows = []
    for kind, options in FILES.items():
        out = work / f"{network.name}.{kind}.onnx"
        if not out.exists():
            run_step(["-m", "export", "adopt", str(path), "--out", str(out), *network.right, *options])
        manifest = read_manifest(out)
        sensitivity = manifest.get("sensitivity")
        scores = {}
        for name, root in (("anny_reid", DATA), ("other", other)):
            scored = json.loads(run_step(["-m", "runtime", "evaluate", str(out), "--data", root, "--json"]))
            scores[name] = {key: scored[key] for key in SCORES}
        rows.append(
            {
                "file": kind,
                "precision": manifest["precision"],
                "sha256": manifest["sha256"],
                "bytes": out.stat().st_size,
                "gate": manifest["gate"]["numbers"],
                "int8_groups": len(sensitivity["int8"]) if sensitivity else None,
                "groups": len(sensitivity["rows"]) if sensitivity else None,
            }
            | scores
        )
    return rows


def latency(network: Network, work: Path, seconds: float) -> list[dict[str, Any]]:
    """Time the FP32 file and the INT8 file alternately with one thread, and return {batch, fp32_ms, int8_ms, speed, interval_95}
    for each batch size."""
    pair = [str(work / f"{network.name}.{kind}.onnx") for kind in ("fp32", "int8")]
    words = ["bench.py", *pair, "--threads", "1", "--batch", "1,8", "--seconds", str(seconds), "--json"]
    document = json.loads(run_step(words))
    rows = []
    for batch in (1, 8):
        fp32, int8 = (model for model in document["models"] if model["batch"] == batch)
        # The first ratio of each batch size is that of the FP32 file with itself.
        ratio = [ratio for ratio in document["ratios"] if ratio["batch"] == batch][1]
        times = {"fp32_ms": fp32["latency_ms"]["p50"], "int8_ms": int8["latency_ms"]["p50"]}
        rows.append({"batch": batch} | times | {"speed": ratio["speed"], "interval_95": ratio["interval_95"]})
    return rows


def consumers(network: Network, work: Path) -> dict[str, int]:
    """Run the commands that use a model on the adopted files, and return the exit code of each."""
    codes: dict[str, int] = {}
    query = sorted((ROOT / DATA / "query").iterdir())[0]
    for kind in ("fp32", "int8"):
        file, store = str(work / f"{network.name}.{kind}.onnx"), work / f"{network.name}.{kind}.gallery"
        shutil.rmtree(store, ignore_errors=True)
        images, out = f"{DATA}/query", work / f"{network.name}.{kind}.npz"
        commands = {
            "extract": ["-m", "runtime", "extract", file, images, "--out", str(out)],
            "gallery add": ["-m", "runtime", "gallery", "add", file, images, "--store", str(store)],
            "gallery search": ["-m", "runtime", "gallery", "search", file, str(query), "--store", str(store)],
        }
        codes |= {f"{name} {kind}": _exit_code(words) for name, words in commands.items()}
    for kind in ("fp16", "int8trt"):
        out = work / f"{network.name}.{kind}.engine"
        build = ["-m", "engines", "build", str(work / f"{network.name}.{kind}.onnx"), "--out", str(out)]
        build += ["--builder", "rtx", "--compute-capability", "8.6", "--batch", "1,8,32"]
        codes[f"engines build {kind}"] = _exit_code(build)
    return codes


def _exit_code(words: Sequence[str]) -> int:
    note(f"python {shlex.join(words)}")
    return run_apart([sys.executable, *words], cwd=ROOT)[0]
