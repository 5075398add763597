"""From the exact FP32 graph to the file that a precision and a target ask for, and what the gate has to run for it."""

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

PRECISIONS = ("fp32", "fp16", "int8")
TARGETS = ("onnxruntime", "tensorrt", "tensorrt8")
# the lint looks at every tensor of every image, and magnitudes vary little from person to person
LINT_COUNT = 64
# held-out images for the sensitivity table: so many, fewer for a large model, so that it stays minutes on a CPU
HELD_OUT, FEWEST, LARGE = 300, 48, 0.5e9

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What is asked for. `calibration` None: FP32; `check` is a folder or data set, `saved_ms` a latency table (`read_latencies`).

    `gated` False: INT8 goes everywhere, unmeasured, and nothing is judged.
    """

    precision: str
    target: str
    calibration: Calibration | None
    check: Path
    max_map_drop: float | None = None
    saved_ms: dict[str, float] | None = None
    gated: bool = True


@dataclass(frozen=True)
class Lowered:
    """`graph` is the file; `rounded` is what the gate runs beside it, because the CPU hides what a device shows in FP16.

    `precision` is that of the file: not the one asked for where INT8 does not pay. `said` goes into the manifest. `less`, given
    what the gate said, is the same with INT8 in fewer places; None where there is nothing to take back.
    """

    graph: onnx.ModelProto
    precision: str
    rounded: onnx.ModelProto | None = None
    said: dict[str, Any] = field(default_factory=dict)
    less: Callable[[list[str]], Lowered] | None = None


def lower(graph: onnx.ModelProto, spec: InputSpec, wish: Wish, *, macs: int, say: Say) -> Lowered:
    """The FP32 `graph` (multiply-adds `macs` a image) as `wish` wants it; `say` gets every finding as one line.

    ConfigError for a wish that contradicts itself or the model; GateError where TensorRT 8.6 could not hold the model in FP16.
    """
    if wish.calibration is None:
        return Lowered(_plain(graph, wish.target), "fp32")
    for note in wish.calibration.notes:
        say(note)
    if wish.precision == "int8" and wish.target == "onnxruntime":
        graph = split_projections(graph)
    work = _Work(graph, wish, wish.calibration, say)
    if wish.precision == "fp16":
        return work.half()
    ranges = calibrate(graph, wish.calibration)
    if not wish.gated:
        return work.int8(ranges)
    held = read_eval_set(wish.check, spec, count=held_out_count(macs))
    if shared := _shared(wish.calibration, held):
        say(
            f"WARNING {shared} of {len(held.images)} images that INT8 is judged on are calibration images too"
        )
    demand = Constraints(wish.max_map_drop, wish.saved_ms)
    return work.chosen(
        choose_groups(graph, ranges, held, target=wish.target, constraints=demand), ranges, held
    )


def held_out_count(macs: int) -> int:
    """How many held-out images the sensitivity table is measured on."""
    return max(FEWEST, min(HELD_OUT, int(HELD_OUT * LARGE / macs)))


def read_latencies(path: Path) -> dict[str, float]:
    """Group -> milliseconds that INT8 saves there, from a JSON object such as {"block0.fc1": 0.02}; ConfigError for anything else."""
    try:
        table = parse_json(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"--latency-table {path}: cannot be read as JSON ({error})") from None
    numbers: list[Any] = list(table.values()) if isinstance(table, dict) else []
    # bool is an int; a NaN, which Python reads, would say of a group that it saves nothing
    if not numbers or not all(type(one) in (int, float) and abs(one) < math.inf for one in numbers):
        raise ConfigError(
            f'--latency-table {path}: not a JSON object of group -> saved milliseconds, such as {{"block0.fc1": 0.02}}'
        )
    return dict(table)


def calibration_slice(images: Calibration, count: int) -> Calibration:
    """At most `count` of the calibration images, evenly spaced, in batches of 8."""
    chosen = spaced(len(images.images), count)
    rows = None if images.camera_ids is None else images.camera_ids[chosen]
    return Calibration(images.images[chosen], rows, images.spec, images.sha256, batch=8)


@dataclass(frozen=True)
class _Work:
    """One FP32 graph on its way to FP16 or INT8."""

    graph: onnx.ModelProto
    wish: Wish
    images: Calibration
    say: Say

    def half(self) -> Lowered:
        """FP16 everywhere but where the lint forbids it."""
        found, said = self.linted()
        said |= {"calibration": self.images.to_json()}
        if self.wish.target == "tensorrt8":
            rounded_ = self.flagged(found, lambda: to_fp16(self.graph))
            return Lowered(for_tensorrt8(self.graph), "fp16", rounded_, said)
        result = to_fp16(self.graph, keep=found.keep)
        if self.wish.target == "tensorrt":
            raise_opset(result)
        return Lowered(result, "fp16", emulate_fp16(result), said)

    def int8(self, ranges: Ranges, skip: tuple[str, ...] = ()) -> Lowered:
        """INT8 in all groups of Linears but `skip`."""
        said: dict[str, Any] = {"calibration": self.images.to_json()}
        if self.wish.target == "onnxruntime":
            return Lowered(with_qdq(self.graph, ranges, target="onnxruntime", skip=skip), "int8", said=said)
        found, linted = self.linted()
        typed = partial(with_qdq, self.graph, ranges, target="tensorrt", skip=skip)
        if self.wish.target == "tensorrt8":
            result = with_qdq(self.graph, ranges, target="tensorrt8", skip=skip)
            return Lowered(result, "int8", self.flagged(found, typed), said | linted)
        result = typed(keep=found.keep)
        return Lowered(result, "int8", emulate_fp16(result), said | linted)

    def chosen(self, choice: QuantPlan, ranges: Ranges, held: EvalSet) -> Lowered:
        """INT8 in the groups of `choice`, or what is better than that."""
        self.say(_sentence(choice))
        said = {"calibration": self.images.to_json(), "sensitivity": choice.to_json()}
        if choice.note is None:
            lowered = self.int8(ranges, choice.skip)

            def less(failures: list[str]) -> Lowered:
                self.say(f"INT8: refused by the gate ({'; '.join(failures)}); more groups go back to float")
                smaller = reduce_plan(
                    choice, self.graph, ranges, held, target=self.wish.target, failures=failures
                )
                return self.chosen(smaller, ranges, held)

            return replace(lowered, said=lowered.said | said, less=less)
        lowered = self.half() if self.wish.target != "onnxruntime" else Lowered(self.graph, "fp32")
        return replace(lowered, said=lowered.said | said)

    def linted(self) -> tuple[Lint, dict[str, Any]]:
        """What the lint found, said, and for the manifest."""
        some = calibration_slice(self.images, LINT_COUNT)
        found = lint(self.graph, ranges(self.graph, some))
        for finding in found.findings:
            self.say(f"fp16 lint: {finding}")
        return found, {"fp16_lint": found.to_json() | {"images": len(some.images)}}

    def flagged(self, found: Lint, half: Callable[[], onnx.ModelProto]) -> onnx.ModelProto | None:
        """What TensorRT 8.6 computes of an FP32 file where flags make it FP16; GateError where FP16 cannot hold its constants."""
        if found.keep:
            self.say(
                "WARNING TensorRT 8.6 chooses FP16 layer by layer and cannot be told from the graph what to keep in FP32; the "
                "gate judges FP16 everywhere"
            )
        if not self.wish.gated:
            return None
        try:
            return emulate_fp16(half())
        except ArtifactError as error:
            raise GateError(
                f"--target tensorrt8: {error}; use --target tensorrt, or --precision fp32"
            ) from None


def _plain(graph: onnx.ModelProto, target: str) -> onnx.ModelProto:
    if target == "tensorrt8":
        return for_tensorrt8(graph)
    if target == "onnxruntime":
        return graph
    result = cast_first(graph)
    raise_opset(result)
    return result


def _shared(images: Calibration, held: EvalSet) -> int:
    """How many held-out crops are calibration crops too."""
    known = {crop.tobytes() for crop in images.images}
    return sum(crop.tobytes() in known for crop in held.images)


def _sentence(choice: QuantPlan) -> str:
    total = len(choice.rows)
    if choice.note is not None:
        return f"INT8: none of {total} groups of Linears is left; {choice.note}, and is written"
    if choice.skip:
        return f"INT8: {len(choice.int8)} of {total} groups of Linears; kept float: {', '.join(choice.skip)}"
    return f"INT8: all {total} groups of Linears"
