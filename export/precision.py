"""Convert an FP32 graph to the requested precision and target, and make the graph that emulates FP16 for the gate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from export.fp16.convert import cast_first, to_fp16
from export.fp16.lint import Lint, emulate_fp16, lint, ranges
from export.int8.calibration import Calibration, spaced
from export.int8.eval_set import EvalSet, read_eval_set
from export.int8.projections import split_projections
from export.int8.quantize import Ranges, calibrate, raise_opset, with_qdq
from export.int8.sensitivity import Constraints, QuantPlan, choose_groups, reduce_plan
from export.tensorrt8 import for_tensorrt8
from runtime.errors import ArtifactError, ConfigError, GateError
from runtime.files.json_text import parse_json
from runtime.spec import InputSpec

# The number of images for the FP16 lint, which measures every tensor on every image. Magnitudes vary little between people.
LINT_COUNT = 64
# The number of held-out images on which INT8 is measured: MAX_HELD_OUT for models of up to LARGE_MACS multiply-adds per image, fewer
# for larger models, so that it takes minutes on a CPU, but at least MIN_HELD_OUT.
MAX_HELD_OUT, MIN_HELD_OUT, LARGE_MACS = 300, 48, 0.5e9

# A callable that shows one line to the user.
Notify = Callable[[str], None]


@dataclass(frozen=True)
class PrecisionRequest:
    """The requested precision and target, with the images and limits that the conversion needs.

    `calibration` has the images for value ranges (None for FP32). `check` is the data set or folder of held-out images on which
    INT8 is measured. mAP may drop by at most `max_map_drop` points there (None: no limit). `saved_ms` maps groups of layers
    to the milliseconds that INT8 saves (None: not measured, every group may become INT8). With `gated` False, accuracy is not
    measured, and all groups become INT8 in an INT8 file.
    """

    precision: str
    target: str
    calibration: Calibration | None
    check: Path
    max_map_drop: float | None = None
    saved_ms: dict[str, float] | None = None
    gated: bool = True


@dataclass(frozen=True)
class ExportedGraph:
    """The converted graph, and what the gate and the manifest need to know about it.

    `graph` is the ONNX model to write. `emulated` is a graph that rounds like a device in FP16, which a CPU does not; the gate runs it
    as well (None: nothing to emulate). `precision` is that of the file; it is fp16 or fp32 if INT8 was requested but no group of
    Linear layers stays in INT8. `report` has the manifest entries calibration, fp16_lint and sensitivity, as far as the conversion
    makes them ({} if FP32 was requested). `fallback` is a function from the gate's failures, one line each, to an ExportedGraph
    with fewer INT8 groups (None: the graph has no INT8 groups that were chosen by measurement).
    """

    graph: onnx.ModelProto
    precision: str
    emulated: onnx.ModelProto | None = None
    report: dict[str, Any] = field(default_factory=dict)
    fallback: Callable[[list[str]], ExportedGraph] | None = None


def apply_precision(
    graph: onnx.ModelProto, spec: InputSpec, request: PrecisionRequest, *, macs: int, notify: Notify
) -> ExportedGraph:
    """Return the FP32 `graph` converted as requested; `notify` is called with one line for each finding or warning.

    `spec` is the input of the graph, and `macs` its number of multiply-adds per image. Raises ConfigError for a request
    that contradicts itself or the model, and GateError if FP16 cannot hold the constants of a model for TensorRT 8.6.
    """
    if request.calibration is None:
        return ExportedGraph(_as_fp32(graph, request.target), "fp32")
    for note in request.calibration.notes:
        notify(note)
    if request.precision == "int8" and request.target == "onnxruntime":
        graph = split_projections(graph)
    conversion = _Conversion(graph, request, request.calibration, notify)
    if request.precision == "fp16":
        return conversion.to_fp16()
    ranges = calibrate(graph, request.calibration)
    if not request.gated:
        return conversion.to_int8(ranges)
    eval_set = read_eval_set(request.check, spec, count=held_out_count(macs))
    if shared := _shared_crops(request.calibration, eval_set):
        notify(
            f"WARNING {shared} of {len(eval_set.images)} images that INT8 is judged on are calibration images too, so its "
            "accuracy may look too good; give --calibration DIR with other images"
        )
    constraints = Constraints(request.max_map_drop, request.saved_ms)
    plan = choose_groups(graph, ranges, eval_set, target=request.target, constraints=constraints)
    return conversion.by_plan(plan, ranges, eval_set)


def held_out_count(macs: int) -> int:
    """Return the number of held-out images on which INT8 is measured, for a model of `macs` multiply-adds per image."""
    return max(MIN_HELD_OUT, min(MAX_HELD_OUT, int(MAX_HELD_OUT * LARGE_MACS / macs)))


def read_latencies(path: Path) -> dict[str, float]:
    """Return {group of layers: milliseconds that INT8 saves there}, such as {"block0.fc1": 0.02}, from a JSON file.

    Raises ConfigError when the file cannot be read or contains anything else.
    """
    try:
        table = parse_json(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f'--latency-table {path}: the file cannot be read as JSON ({error}); write a JSON object, such as {{"block0.fc1": 0.02}}'
        ) from None
    values: list[Any] = list(table.values()) if isinstance(table, dict) else []
    # The exact types exclude bool, which is an int in Python. The comparison excludes NaN, which Python's JSON accepts.
    if not values or not all(type(value) in (int, float) and abs(value) < math.inf for value in values):
        raise ConfigError(
            f"--latency-table {path}: is not a JSON object that maps group names "
            f'to the milliseconds that INT8 saves, such as {{"block0.fc1": 0.02}}'
        )
    return dict(table)


def calibration_slice(images: Calibration, count: int) -> Calibration:
    """Return a Calibration with at most `count` of the `images`, evenly spaced, and with batches of 8."""
    chosen = spaced(len(images.images), count)
    camera_rows = None if images.camera_ids is None else images.camera_ids[chosen]
    return Calibration(images.images[chosen], camera_rows, images.spec, images.sha256, batch=8)


@dataclass(frozen=True)
class _Conversion:
    """The conversion of one FP32 graph to FP16 or INT8."""

    graph: onnx.ModelProto
    request: PrecisionRequest
    images: Calibration
    notify: Notify

    def to_fp16(self) -> ExportedGraph:
        """Convert the graph to FP16, except for the nodes that the lint keeps in FP32."""
        lint_result, report = self.run_lint()
        report |= {"calibration": self.images.to_json()}
        if self.request.target == "tensorrt8":
            emulated = self.emulate_tensorrt8(lint_result, lambda: to_fp16(self.graph))
            return ExportedGraph(for_tensorrt8(self.graph), "fp16", emulated, report)
        result = to_fp16(self.graph, keep_fp32=lint_result.keep)
        if self.request.target == "tensorrt":
            raise_opset(result)
        return ExportedGraph(result, "fp16", emulate_fp16(result), report)

    def to_int8(self, ranges: Ranges, skip: tuple[str, ...] = ()) -> ExportedGraph:
        """Convert all groups of Linears except those in `skip` to INT8."""
        report: dict[str, Any] = {"calibration": self.images.to_json()}
        if self.request.target == "onnxruntime":
            result = with_qdq(self.graph, ranges, target="onnxruntime", skip=skip)
            return ExportedGraph(result, "int8", report=report)
        lint_result, lint_report = self.run_lint()
        report |= lint_report
        typed = partial(with_qdq, self.graph, ranges, target="tensorrt", skip=skip)
        if self.request.target == "tensorrt8":
            result = with_qdq(self.graph, ranges, target="tensorrt8", skip=skip)
            return ExportedGraph(result, "int8", self.emulate_tensorrt8(lint_result, typed), report)
        result = typed(keep_fp32=lint_result.keep)
        return ExportedGraph(result, "int8", emulate_fp16(result), report)

    def by_plan(self, plan: QuantPlan, ranges: Ranges, eval_set: EvalSet) -> ExportedGraph:
        """Convert the groups of `plan` to INT8, or write FP16 or FP32 where the plan leaves no group in INT8."""
        self.notify(_summary(plan))
        report = {"calibration": self.images.to_json(), "sensitivity": plan.to_json()}
        if plan.note is not None:
            if self.request.target == "onnxruntime":
                exported = ExportedGraph(self.graph, "fp32")
            else:
                exported = self.to_fp16()
            return replace(exported, report=exported.report | report)
        exported = self.to_int8(ranges, plan.skip)

        def fallback(failures: list[str]) -> ExportedGraph:
            self.notify(
                f"INT8: refused by the gate ({'; '.join(failures)}); more groups of layers return to float"
            )
            target = self.request.target
            smaller = reduce_plan(plan, self.graph, ranges, eval_set, target=target, failures=failures)
            return self.by_plan(smaller, ranges, eval_set)

        return replace(exported, report=exported.report | report, fallback=fallback)

    def run_lint(self) -> tuple[Lint, dict[str, Any]]:
        """Run the FP16 lint and show its findings; return the result and its entry for the manifest."""
        some_images = calibration_slice(self.images, LINT_COUNT)
        result = lint(self.graph, ranges(self.graph, some_images))
        for finding in result.findings:
            self.notify(f"fp16 lint: {finding}")
        return result, {"fp16_lint": result.to_json() | {"images": len(some_images.images)}}

    def emulate_tensorrt8(
        self, lint_result: Lint, make_fp16: Callable[[], onnx.ModelProto]
    ) -> onnx.ModelProto | None:
        """Return a graph that emulates TensorRT 8.6 when build flags turn the FP32 file into FP16; None without a gate.

        Raises GateError when FP16 cannot hold the model's constants.
        """
        if lint_result.keep:
            self.notify(
                "WARNING TensorRT 8.6 chooses FP16 layer by layer, and a graph cannot tell it what to keep in FP32, so the gate "
                "judges FP16 in every layer; if it refuses the file, give --precision fp32"
            )
        if not self.request.gated:
            return None
        try:
            return emulate_fp16(make_fp16())
        except ArtifactError as error:
            raise GateError(
                f"--target tensorrt8: {error}; use --target tensorrt, or --precision fp32"
            ) from None


def _as_fp32(graph: onnx.ModelProto, target: str) -> onnx.ModelProto:
    if target == "tensorrt8":
        return for_tensorrt8(graph)
    if target == "onnxruntime":
        return graph
    result = cast_first(graph)
    raise_opset(result)
    return result


def _shared_crops(images: Calibration, eval_set: EvalSet) -> int:
    """Count the held-out crops that are calibration crops too."""
    calibration_crops = {crop.tobytes() for crop in images.images}
    return sum(crop.tobytes() in calibration_crops for crop in eval_set.images)


def _summary(plan: QuantPlan) -> str:
    total = len(plan.rows)
    if plan.note is not None:
        return f"INT8: none of {total} groups of layers stays in INT8; {plan.note} and is written"
    if plan.skip:
        return f"INT8: {len(plan.int8)} of {total} groups of layers; kept float: {', '.join(plan.skip)}"
    return f"INT8: all groups of layers ({total})"
