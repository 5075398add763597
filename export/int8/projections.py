"""Replace the joint matrix product for query, key and value by three products, which CPU backends run faster in INT8.

After the joint product, a Split node copies the whole result. Because of the Split, a backend also cannot fuse the dequantisation
of query, key and value with the product that computes them.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import onnx
import onnx.numpy_helper

QKV = ("query", "key", "value")


class _JointProjection(NamedTuple):
    """A product whose columns a Split separates: its node, the Add after it (if any) and the constant of the Add."""

    product: onnx.NodeProto
    add: onnx.NodeProto | None
    offset: str | None


def split_projections(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` in which each joint product for query, key and value becomes three products.

    A joint product is a MatMul (and, for a bias, an Add of a constant) whose only consumer splits its columns into three equal parts.
    The outputs stay the same, because every column keeps its weights. All other nodes are copied unchanged.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    consumer_counts = Counter(name for node in graph.node for name in node.input)
    joints = {
        node.output[0]: joint
        for node in graph.node
        if node.op_type == "Split"
        and (joint := _joint_projection(node, constants, producers, consumer_counts)) is not None
    }
    replaced = {node.output[0] for joint in joints.values() for node in (joint.product, joint.add) if node}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output[0] in joints:
            nodes += _three_products(joints[node.output[0]], node.output, constants, graph)
        elif node.output[0] not in replaced:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    for field, new_content in ((graph.node, nodes), (graph.initializer, tensors)):
        copies = [type(message).FromString(message.SerializeToString()) for message in new_content]
        del field[:]
        field.extend(copies)
    return result


def _joint_projection(
    split: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    producers: dict[str, onnx.NodeProto],
    consumer_counts: Counter[str],
) -> _JointProjection | None:
    """Return the product that `split` separates, or None unless it has a constant matrix and no other consumer."""
    node, add, offset = producers.get(split.input[0]), None, None
    if node is not None and node.op_type == "Add":
        add = node
        offset = next((name for name in node.input if name in constants), None)
        node = producers.get(next((name for name in node.input if name not in constants), ""))
        if offset is None or len(constants[offset].dims) != 1 or consumer_counts[add.output[0]] > 1:
            return None
    if node is None or node.op_type != "MatMul" or consumer_counts[node.output[0]] > 1:
        return None
    weight = constants.get(node.input[1])
    if weight is None or not _splits_in_thirds(split, constants, list(weight.dims)):
        return None
    return _JointProjection(node, add, offset)


def _splits_in_thirds(split: onnx.NodeProto, constants: dict[str, onnx.TensorProto], dims: list[int]) -> bool:
    """Return whether `split` cuts the columns of (B, N, columns), a product with a weight of `dims` (rows, columns), into thirds."""
    axis = next((attribute.i for attribute in split.attribute if attribute.name == "axis"), 0)
    if len(split.output) != len(QKV) or len(dims) != 2 or dims[1] % len(QKV) or axis not in (-1, 2):
        return False
    if len(split.input) < 2:
        return True
    sizes = constants.get(split.input[1])
    return sizes is not None and set(onnx.numpy_helper.to_array(sizes).tolist()) == {dims[1] // len(QKV)}


def _three_products(
    joint: _JointProjection,
    outputs: list[str],
    constants: dict[str, onnx.TensorProto],
    graph: onnx.GraphProto,
) -> list[onnx.NodeProto]:
    nodes = []
    tokens, weight = joint.product.input
    for index, (part, out) in enumerate(zip(QKV, outputs)):
        name = f"{joint.product.name}_{part}"
        part_weight = _add_third(constants[weight], index, f"{name}_weight", graph)
        product = out if joint.offset is None else f"{out}_product"
        nodes.append(onnx.helper.make_node("MatMul", [tokens, part_weight], [product], name=name))
        if joint.offset is not None:
            offset = _add_third(constants[joint.offset], index, f"{name}_bias", graph)
            nodes.append(onnx.helper.make_node("Add", [product, offset], [out], name=f"{name}_add"))
    return nodes


def _add_third(constant: onnx.TensorProto, index: int, name: str, graph: onnx.GraphProto) -> str:
    """Add the `index`-th third of the last axis of `constant` to the graph under `name`, and return `name`."""
    third = np.split(onnx.numpy_helper.to_array(constant), len(QKV), axis=-1)[index]
    graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(third), name))
    return name
