"""Find the tensors that do not fit FP16 on real images and the nodes that must stay FP32, and emulate FP16 on a CPU.

ONNX Runtime's CPU provider computes most FP16 operators in FP32 and drops the rounding between two of them, whether it optimises
the graph or not. An FP16 file whose inner tensors overflow therefore gives correct features there. That is why `ranges` measures
the FP32 graph, and why `emulate_fp16` returns a graph that shows the overflow on a CPU.
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
    always_fp32,
    element_types,
    finite_mask,
    mask_names,
    node_name,
    set_cast_target,
    without_tensors,
)
from runtime.errors import DataError

PROBE = "largest magnitude of "
# Expensive operators, which stay FP32 only if their values do not fit FP16. Other nodes may also stay FP32 to save casts.
HEAVY = {"MatMul", "Gemm", "Conv", "Softmax", "LayerNormalization", "Attention"}
# Operators that only move numbers stay FP32 where they must, but are not reported as findings.
MOVES = {"Transpose", "Reshape", "Slice", "Split", "Concat"}
MOVES |= {"Gather", "Unsqueeze", "Squeeze", "Flatten", "Pad"}
# Underflow in an input of these operators is harmless, because so small a number is negligible beside the other inputs.
UNDERFLOW_SAFE = {"Add", "Sub", "Concat"}
# Operators whose first constant input is a factor.
FACTORS = {"MatMul", "Gemm", "Conv", "LayerNormalization", "Mul", "Div", "Clip"}
WORDS = {
    "overflow": "reaches {:.3g}, beyond FP16's 65504",
    "close": "reaches {:.3g}, close to FP16's 65504",
    "tiny": "never exceeds {:.3g}, below FP16's full precision (6.1e-05)",
}


@dataclass(frozen=True)
class Finding:
    """A tensor that FP16 cannot hold well: `largest` is its largest magnitude, and `kind` is overflow, close or tiny (see `lint`).

    `node` and `operator` are the name and operator of the node that produces the tensor or, for a constant, that uses it.
    """

    kind: str
    tensor: str
    node: str
    operator: str
    largest: float

    def __str__(self) -> str:
        return f"{self.operator} {self.node}: {self.tensor} {WORDS[self.kind].format(self.largest)}; kept in FP32"


@dataclass(frozen=True)
class Lint:
    """The result of `lint`: its findings, and in `keep` the names of the nodes that must stay FP32, in the graph's order.

    `keep` is the argument `keep_fp32` of `to_fp16`. `peak` is the largest magnitude measured; masks and the nodes of
    `always_fp32` do not count.
    """

    findings: tuple[Finding, ...]
    keep: tuple[str, ...]
    peak: float

    def to_json(self) -> dict[str, Any]:
        """Return the manifest entry {findings, keep, peak}; a magnitude that is not finite becomes None."""
        findings = [asdict(finding) for finding in self.findings]
        for finding in findings:
            finding["largest"] = finding["largest"] if np.isfinite(finding["largest"]) else None
        return {
            "findings": findings,
            "keep": list(self.keep),
            "peak": self.peak if np.isfinite(self.peak) else None,
        }


def ranges(
    graph: onnx.ModelProto, feeds: Iterable[Mapping[str, NDArray[Any]]], *, threads: int | None = None
) -> dict[str, float]:
    """Return {tensor name: largest magnitude over all feeds} for every FP32 tensor that a node of `graph` produces.

    A feed is {input name: array}. The magnitude of a tensor with an inf or NaN is inf. Additive masks count as -1e4, the value that
    `to_fp16` writes. `threads` is the number of CPU threads (None: ONNX Runtime's default). Raises DataError without feeds.
    """
    probed = _with_probes(graph)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Optimisation is off because a fused node would have inner values that no probe sees.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Nodes run in graph order, so that each tensor is probed and freed before the next; the default order probes late.
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in probed.graph.output]
    del probed
    largest = np.zeros(len(names))
    # A minimum or maximum can hide a NaN, but a sum cannot.
    sums = np.array([name.startswith("ReduceSum") for name in names])
    measured = False
    for feed in feeds:
        measured = True
        magnitudes = np.abs(np.array([float(number) for number in session.run(names, dict(feed))]))
        magnitudes[sums & np.isfinite(magnitudes)] = 0
        largest = np.maximum(largest, np.where(np.isnan(magnitudes), np.inf, magnitudes))
    if not measured:
        raise DataError("there are no images to measure the model's ranges on; give --calibration DIR")
    by_tensor: dict[str, float] = {}
    for name, magnitude in zip(names, largest.tolist()):
        tensor = name.split(PROBE)[1]
        by_tensor[tensor] = max(by_tensor.get(tensor, 0.0), magnitude)
    return by_tensor


def lint(
    graph: onnx.ModelProto, ranges: Mapping[str, float], *, limit: float = LARGEST, margin: float = 0.25
) -> Lint:
    """Return which tensors of an FP32 graph do not fit FP16, and which nodes must therefore stay FP32.

    `ranges` maps each tensor to its largest magnitude, as the function `ranges` returns it. The kind of a finding is "overflow" beyond
    `limit`, "close" beyond `margin` x `limit` and "tiny" below 2**-14. The nodes that produce or consume such a tensor stay FP32, and
    so does a node with a constant beyond `limit`. The margin allows for images that were not measured.
    """
    always, masks = always_fp32(graph), mask_names(graph)
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        for name in set(node.input):
            consumers.setdefault(name, []).append(node)
    findings: list[Finding] = []
    keep_fp32: set[str] = set()
    peak = 0.0
    for node in graph.graph.node:
        for tensor in node.output:
            adjacent_nodes = {node_name(adjacent) for adjacent in (node, *consumers.get(tensor, []))}
            if tensor not in ranges or adjacent_nodes <= always:
                continue
            if not masks & set(node.input):
                peak = max(peak, ranges[tensor])
            may_underflow = all(consumer.op_type in UNDERFLOW_SAFE for consumer in consumers.get(tensor, []))
            if kind := _kind(ranges[tensor], limit, margin, may_underflow):
                keep_fp32 |= adjacent_nodes
                if node.op_type not in MOVES:
                    findings.append(Finding(kind, tensor, node_name(node), node.op_type, ranges[tensor]))
    for finding in _constant_findings(graph, consumers, limit):
        if finding.node not in always:
            findings.append(finding)
            keep_fp32.add(finding.node)
    keep_fp32 = _with_light_nodes_between(graph, consumers, always, keep_fp32) - always
    order = (node_name(node) for node in graph.graph.node)
    return Lint(tuple(findings), tuple(name for name in order if name in keep_fp32), peak)


def emulate_fp16(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of an FP16 graph that computes in FP32 and rounds every result to FP16, with casts that no runtime may drop.

    The gate runs it on a CPU, where an overflow then gives the same inf and NaN as on a device. Sums inside one operator stay FP32.
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
        half_outputs = [name for name in node.output if name in half]
        node.output[:] = [f"{name}_exact" if name in half else name for name in node.output]
        result.graph.node.append(node)
        for name in half_outputs:
            for source, target, kind in (("_exact", "_half", HALF), ("_half", "", FLOAT)):
                cast = helper.make_node("Cast", [name + source], [name + target], to=kind)
                result.graph.node.append(cast)
    return result


def _kind(largest: float, limit: float, margin: float, may_underflow: bool) -> str | None:
    if not largest <= limit:
        return "overflow"
    if largest > margin * limit:
        return "close"
    return "tiny" if 0 < largest < SMALLEST and not may_underflow else None


def _constant_findings(
    graph: onnx.ModelProto, consumers: Mapping[str, list[onnx.NodeProto]], limit: float
) -> Iterable[Finding]:
    """Yield a finding for each constant that FP16 cannot hold: too large, or a factor that underflows."""
    masks = mask_names(graph)
    for tensor in graph.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.name in masks:
            continue
        largest = float(np.abs(numpy_helper.to_array(tensor)).max(initial=0))
        for node in consumers.get(tensor.name, []):
            may_underflow = node.op_type not in FACTORS or tensor.name in node.input[2:]
            if kind := _kind(largest, limit, 1.0, may_underflow):
                yield Finding(kind, tensor.name, node_name(node), node.op_type, largest)


def _with_light_nodes_between(
    graph: onnx.ModelProto, consumers: Mapping[str, list[onnx.NodeProto]], always: set[str], kept: set[str]
) -> set[str]:
    """Return `kept` and the light nodes between FP32 nodes, where FP32 needs no more casts than a change to FP16 and back."""
    producers = {name: node for node in graph.graph.node for name in node.output}
    light = {node_name(node): node for node in graph.graph.node if node.op_type not in HEAVY}

    def before(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [producers[name] for name in node.input if name in producers]

    def after(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [consumer for name in node.output for consumer in consumers.get(name, [])]

    def reachable(step: Any) -> set[str]:
        """Return the light nodes that are reachable from an FP32 node over light nodes."""
        seen: set[str] = set()
        queue = [node for node in graph.graph.node if node_name(node) in always | kept]
        while queue:
            for node in step(queue.pop()):
                name = node_name(node)
                if name in light and name not in seen | always | kept:
                    seen.add(name)
                    queue.append(node)
        return seen

    between = reachable(before) & reachable(after)
    while between:
        # Take one connected group of these nodes at a time.
        group, queue = set[str](), [next(name for name in light if name in between)]
        between -= set(queue)
        while queue:
            group.add(name := queue.pop())
            adjacent = {node_name(node) for node in before(light[name]) + after(light[name])} & between
            between -= adjacent
            queue += adjacent
        casts_now = _cast_count(graph, consumers, always | kept)
        if _cast_count(graph, consumers, always | kept | group) <= casts_now:
            kept = kept | group
    return kept


def _cast_count(
    graph: onnx.ModelProto, consumers: Mapping[str, list[onnx.NodeProto]], fp32_nodes: set[str]
) -> int:
    """Count the casts of a graph with these FP32 nodes: one for each tensor that a node consumes in the other type."""
    return sum(
        any(
            (node_name(consumer) in fp32_nodes) != (node_name(node) in fp32_nodes)
            for consumer in consumers.get(name, [])
        )
        for node in graph.graph.node
        for name in node.output
    )


def _with_probes(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with three outputs for every float tensor that a node produces: its minimum, its maximum and its sum."""
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
