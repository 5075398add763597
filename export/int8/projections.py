"""One matrix product for query, key and value, cut in three, as three products: what CPU engines run faster in INT8.

The Split copies three times the tokens, and keeps an engine from dequantising each part where it is made.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import onnx
import onnx.numpy_helper

PARTS = ("query", "key", "value")


class _Joint(NamedTuple):
    """A product whose columns a Split cuts: its node, the Add after it if there is one, and that one's constant."""

    product: onnx.NodeProto
    add: onnx.NodeProto | None
    offset: str | None


def separated(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which a MatMul (and constant Add) that only an even three-way Split of the columns reads is three.

    Exact: every column keeps its weights. What has another form stays as it is.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    joints = {
        node.output[0]: joint
        for node in graph.node
        if node.op_type == "Split" and (joint := _joint(node, constants, made, readers)) is not None
    }
    gone = {node.output[0] for joint in joints.values() for node in (joint.product, joint.add) if node}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output[0] in joints:
            nodes += _three(joints[node.output[0]], node.output, constants, graph)
        elif node.output[0] not in gone:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    for old, new in ((graph.node, nodes), (graph.initializer, tensors)):
        copies = [type(one).FromString(one.SerializeToString()) for one in new]
        del old[:]
        old.extend(copies)
    return result


def _joint(
    split: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    made: dict[str, onnx.NodeProto],
    readers: Counter[str],
) -> _Joint | None:
    """What `split` cuts, where that is a product with a constant matrix that nothing else reads."""
    node, add, offset = made.get(split.input[0]), None, None
    if node is not None and node.op_type == "Add":
        add = node
        offset = next((name for name in node.input if name in constants), None)
        node = made.get(next((name for name in node.input if name not in constants), ""))
        if offset is None or len(constants[offset].dims) != 1 or readers[add.output[0]] > 1:
            return None
    if node is None or node.op_type != "MatMul" or readers[node.output[0]] > 1:
        return None
    weight = constants.get(node.input[1])
    if weight is None or not _in_thirds(split, constants, list(weight.dims)):
        return None
    return _Joint(node, add, offset)


def _in_thirds(split: onnx.NodeProto, constants: dict[str, onnx.TensorProto], dims: list[int]) -> bool:
    """Does `split` cut the columns of (B, N, columns), the product with a (rows, columns) weight, in three equal parts?"""
    axis = next((one.i for one in split.attribute if one.name == "axis"), 0)
    if len(split.output) != len(PARTS) or len(dims) != 2 or dims[1] % len(PARTS) or axis not in (-1, 2):
        return False
    if len(split.input) < 2:
        return True
    sizes = constants.get(split.input[1])
    return sizes is not None and set(onnx.numpy_helper.to_array(sizes).tolist()) == {dims[1] // len(PARTS)}


def _three(
    joint: _Joint, outputs: list[str], constants: dict[str, onnx.TensorProto], graph: onnx.GraphProto
) -> list[onnx.NodeProto]:
    nodes = []
    images, weight = joint.product.input
    for index, (part, out) in enumerate(zip(PARTS, outputs)):
        name = f"{joint.product.name}_{part}"
        own = _column(constants[weight], index, f"{name}_weight", graph)
        product = out if joint.offset is None else f"{out}_product"
        nodes.append(onnx.helper.make_node("MatMul", [images, own], [product], name=name))
        if joint.offset is not None:
            offset = _column(constants[joint.offset], index, f"{name}_bias", graph)
            nodes.append(onnx.helper.make_node("Add", [product, offset], [out], name=f"{name}_add"))
    return nodes


def _column(constant: onnx.TensorProto, index: int, new: str, graph: onnx.GraphProto) -> str:
    """Adds the `index`-th third of the last axis of `constant` to the graph under the name `new`, which it gives."""
    third = np.split(onnx.numpy_helper.to_array(constant), len(PARTS), axis=-1)[index]
    graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(third), new))
    return new
