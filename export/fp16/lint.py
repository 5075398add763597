"""Which tensors of a model would not fit FP16 on real images, which nodes must stay FP32 for it, and a proof that can fail.

ONNX Runtime's CPU provider computes most FP16 operators in FP32 and drops the rounding between two of them, optimised or not: an
FP16 file whose inner tensors overflow gives healthy features there. Hence `ranges`, of the FP32 graph, and `rounded`, to run an FP16
graph honestly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.fp16.convert import (
    FLOAT,
    HALF,
    LARGEST,
    SMALLEST,
    always_wide,
    element_types,
    finite_mask,
    mask_names,
    node_name,
    set_cast_target,
    without_tensors,
)
from runtime.errors import DataError

PROBE = "largest magnitude of "
# Each is a matter of its own; a node of another kind that lies between FP32 nodes may join them to save casts.
HEAVY = {"MatMul", "Gemm", "Conv", "Softmax", "LayerNormalization", "Attention"}
# What only moves numbers is kept where it must be, but is no finding of its own.
MOVES = {
    "Transpose",
    "Reshape",
    "Slice",
    "Split",
    "Concat",
    "Gather",
    "Unsqueeze",
    "Squeeze",
    "Flatten",
    "Pad",
}
# An addend that FP16 can hardly tell from 0 is as good as 0 beside the other one.
FORGIVING = {"Add", "Sub", "Concat"}
# Operators whose first constant input is a factor.
FACTORS = {"MatMul", "Gemm", "Conv", "LayerNormalization", "Mul", "Div", "Clip"}
WORDS = {
    "overflow": "reaches {:.3g}, beyond FP16's 65504",
    "close": "reaches {:.3g}, close to FP16's 65504",
    "tiny": "never exceeds {:.3g}, below FP16's full precision (6.1e-05)",
}


@dataclass(frozen=True)
class Finding:
    """`tensor` reaches `largest` (magnitude); `kind` is overflow, close or tiny, `node` what makes it, or takes a constant."""

    kind: str
    tensor: str
    node: str
    operator: str
    largest: float

    def __str__(self) -> str:
        return f"{self.operator} {self.node}: {self.tensor} {WORDS[self.kind].format(self.largest)}; kept in FP32"


@dataclass(frozen=True)
class Lint:
    """What was found, and the names of the nodes to keep in FP32 for it (`to_fp16`'s `keep`), in the graph's order.

    `peak` is the largest magnitude that was measured where FP16 could be, masks left out.
    """

    findings: tuple[Finding, ...]
    keep: tuple[str, ...]
    peak: float

    def to_json(self) -> dict[str, Any]:
        """For the manifest. A magnitude that is not finite is written as null."""
        found = [asdict(one) for one in self.findings]
        for one in found:
            one["largest"] = one["largest"] if np.isfinite(one["largest"]) else None
        return {
            "findings": found,
            "keep": list(self.keep),
            "peak": self.peak if np.isfinite(self.peak) else None,
        }


def ranges(
    graph: onnx.ModelProto, feeds: Iterable[Mapping[str, NDArray[Any]]], *, threads: int | None = None
) -> dict[str, float]:
    """Largest magnitude over all feeds (input name -> array) of every FP32 tensor that a node makes; inf where not finite.

    Only these numbers leave the graph, not the tensors. Additive masks count as -1e4, as `to_fp16` writes them. DataError without
    feeds.
    """
    probed = _probed(graph)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # every node as it stands: a fused one would have inner values that no probe sees
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # in the order of the nodes, so that each tensor is probed and freed before the next; the default order probes late
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in probed.graph.output]
    del probed
    largest = np.zeros(len(names))
    # a NaN is lost on the way to a least or greatest element, but not in a sum
    sums = np.array([name.startswith("ReduceSum") for name in names])
    measured = False
    for feed in feeds:
        measured = True
        numbers = np.abs(np.array([float(number) for number in session.run(names, dict(feed))]))
        numbers[sums & np.isfinite(numbers)] = 0
        largest = np.maximum(largest, np.where(np.isnan(numbers), np.inf, numbers))
    if not measured:
        raise DataError("no images to measure the ranges of a model on; give --calibration DIR")
    found: dict[str, float] = {}
    for name, number in zip(names, largest.tolist()):
        tensor = name.split(PROBE)[1]
        found[tensor] = max(found.get(tensor, 0.0), number)
    return found


def lint(
    graph: onnx.ModelProto, ranges: Mapping[str, float], *, limit: float = LARGEST, margin: float = 0.25
) -> Lint:
    """Judge an FP32 graph by its tensors' `ranges`: overflow beyond `limit`, close beyond `margin` of it, tiny below 2**-14.

    Whoever makes or takes such a tensor stays FP32, as does a node with a constant beyond `limit`. The margin is for images
    that are not among the measured ones.
    """
    wide, masks = always_wide(graph), mask_names(graph)
    takers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        for name in set(node.input):
            takers.setdefault(name, []).append(node)
    findings: list[Finding] = []
    kept: set[str] = set()
    peak = 0.0
    for node in graph.graph.node:
        for tensor in node.output:
            hands = {node_name(hand) for hand in (node, *takers.get(tensor, []))}
            if tensor not in ranges or hands <= wide:
                continue
            if not masks & set(node.input):
                peak = max(peak, ranges[tensor])
            forgiven = all(taker.op_type in FORGIVING for taker in takers.get(tensor, []))
            if kind := _kind(ranges[tensor], limit, margin, forgiven):
                kept |= hands
                if node.op_type not in MOVES:
                    findings.append(Finding(kind, tensor, node_name(node), node.op_type, ranges[tensor]))
    for finding in _constants(graph, takers, limit):
        if finding.node not in wide:
            findings.append(finding)
            kept.add(finding.node)
    kept = _bridged(graph, takers, wide, kept) - wide
    order = (node_name(node) for node in graph.graph.node)
    return Lint(tuple(findings), tuple(name for name in order if name in kept), peak)


def rounded(graph: onnx.ModelProto) -> onnx.ModelProto:
    """An FP16 graph as FP32 arithmetic in which every result is rounded to FP16, by casts that no runtime may drop.

    For the gate: on the CPU, an overflow then gives the inf and NaN that it gives on a device. Sums inside one operator are FP32.
    """
    result, types = without_tensors(graph), element_types(graph)
    result.graph.ClearField("node")
    half = {name for name, kind in types.items() if kind == HALF}
    for tensor in graph.graph.initializer:
        if tensor.name in half:
            tensor = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        result.graph.initializer.append(tensor)
    for original in graph.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if node.op_type == "Cast" and node.output[0] in half:
            set_cast_target(node, FLOAT)
        results = [name for name in node.output if name in half]
        node.output[:] = [f"{name}_exact" if name in half else name for name in node.output]
        result.graph.node.append(node)
        for name in results:
            for source, target, kind in (("_exact", "_half", HALF), ("_half", "", FLOAT)):
                cast = helper.make_node("Cast", [name + source], [name + target], to=kind)
                result.graph.node.append(cast)
    return result


def _kind(largest: float, limit: float, margin: float, forgiven: bool) -> str | None:
    if not largest <= limit:
        return "overflow"
    if largest > margin * limit:
        return "close"
    return "tiny" if 0 < largest < SMALLEST and not forgiven else None


def _constants(
    graph: onnx.ModelProto, takers: Mapping[str, list[onnx.NodeProto]], limit: float
) -> Iterable[Finding]:
    """Constants that FP16 cannot hold: too large, or factors that it can hardly tell from 0."""
    masks = mask_names(graph)
    for tensor in graph.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.name in masks:
            continue
        largest = float(np.abs(numpy_helper.to_array(tensor)).max(initial=0))
        for node in takers.get(tensor.name, []):
            forgiven = node.op_type not in FACTORS or tensor.name in node.input[2:]
            if kind := _kind(largest, limit, 1.0, forgiven):
                yield Finding(kind, tensor.name, node_name(node), node.op_type, largest)


def _bridged(
    graph: onnx.ModelProto, takers: Mapping[str, list[onnx.NodeProto]], wide: set[str], kept: set[str]
) -> set[str]:
    """`kept` and the light nodes on paths between FP32 nodes, where staying FP32 needs no more casts than going back and forth."""
    makers = {name: node for node in graph.graph.node for name in node.output}
    light = {node_name(node): node for node in graph.graph.node if node.op_type not in HEAVY}

    def before(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [makers[name] for name in node.input if name in makers]

    def after(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [taker for name in node.output for taker in takers.get(name, [])]

    def reached(step: Any) -> set[str]:
        """Light nodes that steps over light nodes lead to from a kept one."""
        seen: set[str] = set()
        queue = [node for node in graph.graph.node if node_name(node) in wide | kept]
        while queue:
            for node in step(queue.pop()):
                name = node_name(node)
                if name in light and name not in seen | wide | kept:
                    seen.add(name)
                    queue.append(node)
        return seen

    between = reached(before) & reached(after)
    while between:
        # one connected group of them at a time
        group, queue = set[str](), [next(name for name in light if name in between)]
        between -= set(queue)
        while queue:
            group.add(name := queue.pop())
            near = {node_name(node) for node in before(light[name]) + after(light[name])} & between
            between -= near
            queue += near
        if _casts(graph, takers, wide | kept | group) <= _casts(graph, takers, wide | kept):
            kept = kept | group
    return kept


def _casts(graph: onnx.ModelProto, takers: Mapping[str, list[onnx.NodeProto]], wide: set[str]) -> int:
    """How many casts a graph with these FP32 nodes needs: one for each tensor that somebody takes in the other type."""
    return sum(
        any((node_name(taker) in wide) != (node_name(node) in wide) for taker in takers.get(name, []))
        for node in graph.graph.node
        for name in node.output
    )


def _probed(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The model with three outputs for every float tensor that a node makes: its least and greatest element and its sum."""
    probed, masks = without_tensors(graph), mask_names(graph)
    for tensor in graph.graph.initializer:
        if tensor.name in masks:
            tensor = numpy_helper.from_array(finite_mask(numpy_helper.to_array(tensor)), tensor.name)
        probed.graph.initializer.append(tensor)
    probed.graph.ClearField("node")
    probed.graph.ClearField("output")
    types = element_types(graph)
    for node in graph.graph.node:
        probed.graph.node.append(node)
        for name in node.output:
            if types.get(name) != FLOAT:
                continue
            for operator in ("ReduceMin", "ReduceMax", "ReduceSum"):
                title = f"{operator} {PROBE}{name}"
                probed.graph.node.append(helper.make_node(operator, [name], [title], keepdims=0))
                probed.graph.output.append(helper.make_tensor_value_info(title, FLOAT, []))
    return probed
