"""Run the quality gate of a model on every CPU backend, and time the backends that pass in turns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import console
from runtime.artifact import Artifact
from runtime.backends.choice import this_machine
from runtime.backends.library import BrokenLibrary
from runtime.check import Check, judge, load_check
from runtime.errors import ConfigError, DeviceError
from runtime.gate import backend_limits
from runtime.host.stopwatch import Call, interleave
from runtime.images.preprocess import to_input
from runtime.opening import load_artifact
from runtime.options.choices import BACKENDS, SECONDS
from runtime.spec import InputSpec

# The number of different batches; a backend runs all of them before the first is repeated.
FEEDS = 16
# A backend whose features are further from the torch model's must be faster than a closer backend by this fraction.
MARGIN = 0.03


def measure(
    path: Path, *, threads: int | None = None, batch: int | None = None, seconds: float = SECONDS
) -> dict[str, Any]:
    """Return {model, processor, cores, versions, threads, batch, load_average, rows[], chosen} of the ONNX file at `path`.

    `threads` of None means all cores. There is one row for each of BACKENDS: {engine, passed, failures, numbers, latency_ms, cpu_ms,
    rounds, products}, without the times when the gate fails, or {engine, missing} when the backend is not installed. The times are
    those of one call; the backends take turns.
    """
    load = load_average()
    rows: list[dict[str, Any]] = []
    opened: list[tuple[dict[str, Any], Artifact]] = []
    for backend in BACKENDS:
        row: dict[str, Any] = {"engine": backend}
        rows.append(row)
        try:
            opened.append((row, load_artifact(path, threads=threads, backend=backend)))
        # A backend that is installed but broken is an error; it must not be skipped silently.
        except BrokenLibrary:
            raise
        except DeviceError as error:
            row["missing"] = str(error)
    if not opened:
        raise DeviceError(
            f"{path}: no backend for this CPU is installed; pip install '.[cpu]' or '.[openvino]'"
        )
    model = opened[0][1]
    size = _batch(model, batch)
    check = load_check(path, model.manifest)
    for row, artifact in opened:
        row |= _gate_result(check, artifact, row["engine"], size)
    passing = [(row, artifact) for row, artifact in opened if row["passed"]]
    inputs = _input_batches(check, model.spec, size)
    calls = [_call(artifact, inputs) for _, artifact in passing]
    for (row, artifact), times in zip(passing, interleave(calls, seconds=seconds)):
        row |= {
            "latency_ms": {f"p{point}": float(np.percentile(times.wall_ms, point)) for point in (50, 95)},
            "cpu_ms": float(np.median(times.cpu_ms)),
            "rounds": len(times.wall_ms),
            "products": getattr(artifact.run, "matmul_types", dict)(),
        }
    header = {"model": model.sha256, "threads": threads, "batch": size, "load_average": load, "rows": rows}
    return header | this_machine() | {"chosen": choose(rows)}


def choose(rows: Sequence[dict[str, Any]]) -> str | None:
    """Return the backend of the fastest row that passed its gate, or None.

    `rows` are ordered by numerical closeness to the torch model, closest first. A row replaces an earlier
    one only when its p50 is lower by more than MARGIN.
    """
    best: dict[str, Any] | None = None
    for row in rows:
        if not row.get("passed"):
            continue
        if best is None or row["latency_ms"]["p50"] < (1 - MARGIN) * best["latency_ms"]["p50"]:
            best = row
    return best["engine"] if best else None


def load_average() -> float | None:
    """Return the mean number of runnable processes over the last minute, or None if the system does not report it."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _gate_result(check: Check, artifact: Artifact, backend: str, batch: int) -> dict[str, Any]:
    limits = backend_limits(artifact.manifest.get("precision", ""), backend)
    console.note(f"{backend}: gate on {len(check.images)} crops")
    try:
        return judge(check, artifact.run, artifact.spec, limits, batch=batch)
    except DeviceError as error:
        return {"passed": False, "failures": [str(error)]}


def _batch(model: Artifact, batch: int | None) -> int:
    fixed = model.spec.batch
    if fixed is not None and batch not in (None, fixed):
        raise ConfigError(
            f"{model.path}: has a fixed batch of {fixed}; leave --batch out, or give --batch {fixed}"
        )
    return batch or fixed or 1


def _input_batches(
    check: Check, spec: InputSpec, batch: int
) -> list[tuple[NDArray[Any], NDArray[np.int64] | None]]:
    """Return FEEDS batches of the check crops, preprocessed for the graph. Crops are repeated if there are too few."""
    indices = np.arange(FEEDS * batch).reshape(FEEDS, batch) % len(check.images)
    return [
        (to_input(check.images[chosen], spec), check.camera_ids[chosen] if spec.camera == "input" else None)
        for chosen in indices
    ]


def _call(artifact: Artifact, inputs: Sequence[tuple[NDArray[Any], NDArray[np.int64] | None]]) -> Call:
    return lambda turn: artifact.run(*inputs[turn % len(inputs)])
