"""From the exact FP32 graph to the file that a precision and a target ask for, and what the gate has to run for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from export.calibration import COUNT, Calibration, calibration_set
from export.fp16 import cast_first, to_fp16
from export.fp16_lint import Lint, lint, ranges, rounded
from export.int8 import calibrate, with_qdq
from export.sensitivity import Choice, Demand, choose, held_out
from export.tensorrt8 import for_tensorrt8
from runtime.errors import ConfigError
from runtime.spec import InputSpec

PRECISIONS = ("fp32", "fp16", "int8")
TARGETS = ("onnxruntime", "tensorrt", "tensorrt8")
# the lint looks at every tensor of every image, and magnitudes vary little from person to person
LINT_COUNT = 64
# held-out images for the sensitivity table: so many, fewer for a large model, so that it stays minutes on a CPU
HELD_OUT, FEWEST, LARGE = 300, 48, 0.5e9

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What is asked for. `calibration` and `check` are folders or data sets, `saved_ms` a latency table (see `read_latencies`).

    `gated` False: INT8 goes everywhere, unmeasured, and nothing is judged.
    """

    precision: str
    target: str
    calibration: Path
    check: Path
    calibration_count: int = COUNT
    max_map_drop: float | None = None
    saved_ms: dict[str, float] | None = None
    gated: bool = True


@dataclass(frozen=True)
class Lowered:
    """`graph` is the file; `judged` (name -> graph) is what the gate runs beside it, because the CPU hides what a device shows.

    `precision` is that of the file: not the one asked for where INT8 does not pay. `said` goes into the manifest.
    """

    graph: onnx.ModelProto
    precision: str
    judged: dict[str, onnx.ModelProto] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)


def lower(graph: onnx.ModelProto, spec: InputSpec, wish: Wish, *, macs: int, say: Say) -> Lowered:
    """The FP32 `graph` (multiply-adds `macs` a image) as `wish` wants it; `say` gets every finding as one line.

    DataError without calibration images, ConfigError for a wish that contradicts itself.
    """
    if wish.precision == "fp32":
        return Lowered(_plain(graph, wish.target), "fp32")
    images = calibration_set(wish.calibration, spec, count=wish.calibration_count)
    if wish.precision == "fp16":
        return _half(graph, wish, images, say)
    for note in images.notes:
        say(note)
    found = calibrate(graph, images)
    said: dict[str, Any] = {"calibration": images.to_json()}
    skip: tuple[str, ...] = ()
    if wish.gated:
        choice = choose(
            graph,
            found,
            held_out(wish.check, spec, count=held_out_count(macs)),
            target=wish.target,
            demand=Demand(wish.max_map_drop, wish.saved_ms),
        )
        said["sensitivity"] = choice.to_json()
        skip = choice.skip
        _report(choice, say)
        if choice.note is not None:
            return _without_int8(graph, wish, images, said, say)
    if wish.target != "tensorrt":
        return Lowered(with_qdq(graph, found, target=wish.target, skip=skip), "int8", said=said)
    linted = _linted(graph, images, say)
    result = with_qdq(graph, found, target=wish.target, skip=skip, keep=linted.keep)
    return Lowered(result, "int8", {"rounded": rounded(result)}, said | {"fp16_lint": linted.to_json()})


def held_out_count(macs: int) -> int:
    """How many held-out images the sensitivity table is measured on."""
    return max(FEWEST, min(HELD_OUT, int(HELD_OUT * LARGE / macs)))


def read_latencies(path: Path) -> dict[str, float]:
    """Group -> milliseconds that INT8 saves there, from a JSON object such as {"block0.fc1": 0.02}; ConfigError for anything else."""
    try:
        table = json.loads(path.read_text())
        return {str(group): float(saved) for group, saved in table.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"--latency-table {path}: not a JSON object of group -> saved milliseconds ({error})"
        ) from None


def _plain(graph: onnx.ModelProto, target: str) -> onnx.ModelProto:
    if target == "tensorrt8":
        return for_tensorrt8(graph)
    return cast_first(graph) if target == "tensorrt" else graph


def _linted(graph: onnx.ModelProto, images: Calibration, say: Say) -> Lint:
    some = calibration_slice(images, LINT_COUNT)
    found = lint(graph, ranges(graph, some))
    for finding in found.findings:
        say(f"fp16 lint: {finding}")
    return found


def calibration_slice(images: Calibration, count: int) -> Calibration:
    """At most `count` of the calibration images, evenly spaced, in batches of 8."""
    step = max(1, len(images.images) // count)
    rows = None if images.camera_ids is None else images.camera_ids[::step]
    return Calibration(images.images[::step], rows, images.spec, images.sha256, batch=8)


def _half(graph: onnx.ModelProto, wish: Wish, images: Calibration, say: Say) -> Lowered:
    found = _linted(graph, images, say)
    half = to_fp16(graph, keep=found.keep)
    said = {"calibration": images.to_json(), "fp16_lint": found.to_json()}
    if wish.target != "tensorrt8":
        return Lowered(half, "fp16", {"rounded": rounded(half)}, said)
    if found.keep:
        say(
            "WARNING TensorRT 8.6 chooses FP16 layer by layer and cannot be told from the graph what to keep in FP32; the gate "
            "judges FP16 everywhere"
        )
    return Lowered(for_tensorrt8(graph), "fp16", {"rounded": rounded(to_fp16(graph))}, said)


def _without_int8(
    graph: onnx.ModelProto, wish: Wish, images: Calibration, said: dict[str, Any], say: Say
) -> Lowered:
    if wish.target == "onnxruntime":
        # on a CPU FP16 is computed in FP32, with casts around it
        say(
            "FP32 is the better file here: no group of Linears is both accurate and faster in INT8; it is written"
        )
        return Lowered(graph, "fp32", said=said)
    lowered = _half(graph, wish, images, say)
    return Lowered(lowered.graph, "fp16", lowered.judged, said | lowered.said)


def _report(choice: Choice, say: Say) -> None:
    total = len(choice.rows)
    if choice.note is not None:
        say(f"INT8: none of {total} groups of Linears is left; {choice.note}")
    elif choice.skip:
        say(f"INT8: {len(choice.int8)} of {total} groups of Linears; kept float: {', '.join(choice.skip)}")
    else:
        say(f"INT8: all {total} groups of Linears")
