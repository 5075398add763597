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
# The largest integer of a bias.
LARGEST_BIAS = 2**31 - 1


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
        if node.op_type == "Conv" and bias_of(node) in constants:
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


def least_scales(
    nodes: Mapping[str, onnx.NodeProto], steps: Mapping[str, float], constants: Mapping[str, TensorProto]
) -> dict[str, NDArray[np.float64]]:
    """Return {weight: the smallest scale of each output channel with which the biases fit into INT32} for `nodes` by name.

    `steps` are the scales of their inputs. A bias has the scale of the input times that of the weight. Where a batch norm has turned
    a channel off, the weights are 0 or nearly so, and a scale for them alone would cut off the bias.
    """
    least: dict[str, NDArray[np.float64]] = {}
    for name, node in nodes.items():
        bias = constants.get(bias_of(node) or "")
        if bias is not None and steps[name]:
            values = np.abs(numpy_helper.to_array(bias).astype(np.float64))
            # The margin is for the rounding of both scales.
            needed = 1.01 * values / LARGEST_BIAS / steps[name]
            least[node.input[1]] = np.maximum(needed, least.get(node.input[1], 0))
    return least


def bias_of(node: onnx.NodeProto) -> str | None:
    """Return the name of the bias of a Conv or Gemm node; None if it has no bias, and for any other node."""
    has_bias = node.op_type in ("Conv", "Gemm") and len(node.input) > BIAS and node.input[BIAS]
    return node.input[BIAS] if has_bias else None


def own_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `graph` in which every convolution has a weight of its own.

    ONNX Runtime (tried in 1.32) cannot load a graph in which several convolutions take the same dequantised weight and compute in
    float, which is what it does with the graphs for TensorRT on a CPU without VNNI. The gate of OSNet shares its weights so.
    """
    result = onnx.ModelProto()
    result.CopyFrom(graph)
    weights, used = {tensor.name: tensor for tensor in graph.graph.initializer}, set()
    for node in result.graph.node:
        if node.op_type != "Conv" or node.input[1] not in weights:
            continue
        shared = node.input[1]
        if shared in used:
            copy = result.graph.initializer.add()
            copy.CopyFrom(weights[shared])
            copy.name = node.input[1] = f"{shared}_of_{node.name}"
        used.add(shared)
    return result


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
    integers = np.clip(np.rint(bias / scale), -LARGEST_BIAS, LARGEST_BIAS).astype(np.int32)
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
    # An empty name stands for an optional input or output that is left out.
    waiting = {name: node for node in nodes for name in node.output if name}
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
            if any(name in waiting for name in last.output):
                ordered.append(last)
                for name in last.output:
                    waiting.pop(name, None)
    return ordered
