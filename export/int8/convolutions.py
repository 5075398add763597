"""Give the convolutions of an INT8 graph the form that ONNX Runtime runs with integers: int32 biases and quantised outputs.

ONNX Runtime replaces a Linear layer with Q/DQ nodes at its inputs, but a convolution only if its bias and its output are quantised
too. The features of other convolutions would be as inaccurate as in INT8 and computed as slowly as in float.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# The activations that ONNX Runtime joins with the rounding after them.
ACTIVATIONS = {"Relu", "Clip"}
BIAS = 2


def tails(graph: onnx.ModelProto, names: Iterable[str]) -> dict[str, str]:
    """Return {convolution: the tensor to quantise behind it} for the convolutions among the node `names`.

    The tensor is the output of the convolution or, if only a Relu or Clip consumes it, the output of that node. A convolution whose
    tensor is an output of the graph is left out.
    """
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    wanted, results = set(names), {value.name for value in graph.graph.output}
    found = {}
    for node in graph.graph.node:
        if node.op_type == "Conv" and node.name in wanted:
            tensor = node.output[0]
            after = consumers.get(tensor, [])
            if len(after) == 1 and after[0].op_type in ACTIVATIONS:
                tensor = after[0].output[0]
            if tensor not in results:
                found[node.name] = tensor
    return found


def chained(
    graph: onnx.ModelProto,
    constants: Mapping[str, TensorProto],
    outputs: Mapping[str, tuple[str, list[onnx.NodeProto], list[TensorProto]]],
) -> dict[str, TensorProto]:
    """Quantise the biases of the INT8 convolutions of `graph` and the tensors behind them, in place; return the new constants.

    `constants` are those of the graph by name. `outputs` has, for each tensor to quantise, the tensor that replaces it, the nodes that
    make this tensor, and their constants. All consumers of such a tensor get the replacement.
    """
    added: dict[str, TensorProto] = {}
    producers = {name: node for node in graph.graph.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.graph.node:
        if node.op_type == "Conv" and len(node.input) > BIAS and node.input[BIAS]:
            scales = [name for name in (_scale(producers.get(name)) for name in node.input[:2]) if name]
            if len(scales) == 2:
                known = {**constants, **added}
                input_scale, weight_scale = (
                    numpy_helper.to_array(known[name]).astype(np.float64) for name in scales
                )
                nodes.append(_bias(node, known, input_scale * weight_scale, added))
        nodes.append(node)
    rounding = {node.output[0] for node in nodes if node.op_type == "QuantizeLinear"}
    for tensor, (replacement, new_nodes, new_constants) in outputs.items():
        for node in nodes:
            if node.output[0] not in rounding:
                node.input[:] = [replacement if name == tensor else name for name in node.input]
        if replacement not in producers:
            nodes += new_nodes
            added |= {constant.name: constant for constant in new_constants}
    ordered = _ordered(nodes)
    del graph.graph.node[:]
    graph.graph.node.extend(ordered)
    return added


def _scale(node: onnx.NodeProto | None) -> str | None:
    """Return the scale of a DequantizeLinear node; None for any other producer."""
    return node.input[1] if node is not None and node.op_type == "DequantizeLinear" else None


def _bias(
    node: onnx.NodeProto,
    constants: Mapping[str, TensorProto],
    scale: NDArray[np.float64],
    added: dict[str, TensorProto],
) -> onnx.NodeProto:
    """Point `node` at its bias in INT32 with the scale of its products, in place; return the node that dequantises this bias."""
    name = f"{node.name}_bias"
    bias = numpy_helper.to_array(constants[node.input[BIAS]]).astype(np.float64)
    limits = np.iinfo(np.int32)
    integers = np.clip(np.rint(bias / scale), limits.min, limits.max).astype(np.int32)
    values = {
        f"{name}_int32": integers,
        f"{name}_scale": scale.astype(np.float32),
        f"{name}_zero": np.zeros(len(bias), np.int32),
    }
    added |= {key: numpy_helper.from_array(value, key) for key, value in values.items()}
    node.input[BIAS] = f"{name}_dq"
    return helper.make_node(
        "DequantizeLinear", [*values], [node.input[BIAS]], name=f"dequantise_{name}", axis=0
    )


def _ordered(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes in an order in which each follows the producers of its inputs; otherwise the order is kept."""
    waiting = {name: node for node in nodes for name in node.output}
    ordered: list[onnx.NodeProto] = []

    for node in nodes:
        stack = [node]
        while stack:
            last = stack[-1]
            missing = [waiting[name] for name in last.input if name in waiting]
            if missing:
                stack.append(missing[0])
                continue
            stack.pop()
            if last.output[0] in waiting:
                ordered.append(last)
                for name in last.output:
                    del waiting[name]
    return ordered
