"""Make the batch of a foreign network free: rewrite the operators in which its exporter wrote the batch down as a number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.graph import simplified, unknown_shape

# The newest IR version that the oldest supported ONNX Runtime (1.18) reads. Opsets above 18 need more than that of `simplified`.
NEWEST_IR = 10


def slimmed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model simplified by onnxslim, with an IR version that fits its opset."""
    slim = simplified(model)
    if max(opset.version for opset in slim.opset_import) > 18:
        slim.ir_version = NEWEST_IR
    return slim


def bound(network: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return a copy of `network` with the fixed `batch`, in which what depends on the batch alone is a constant."""
    result = onnx.ModelProto()
    result.CopyFrom(network)
    result.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    return slimmed(result)


def freed(network: onnx.ModelProto, *, other: onnx.ModelProto | None = None) -> onnx.ModelProto:
    """Return a copy of `network`, the result of `bound`, with the symbolic batch `batch`.

    Every Reshape leaves open the size that changes with the batch. `other` is the same network, bound to another batch, and shows
    which size this is; some transformers have it in the middle. Without `other`, it is the first one. A constant that is joined with
    the images, such as the class token of a transformer, is added instead, behind zeros. The caller must check the result, because
    the batch of a network without `other` may stand elsewhere.
    """
    result = onnx.ModelProto()
    result.CopyFrom(network)
    graph = result.graph
    shapes = _shapes(network)
    others = shapes if other is None else _shapes(other)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for index, node in enumerate(graph.node):
        name = f"free_batch_{index}"
        if node.op_type == "Reshape" and shapes.get(node.output[0]):
            sizes = np.array(shapes[node.output[0]], np.int64)
            sizes[_batch_axis(shapes[node.output[0]], others.get(node.output[0], []))] = -1
            graph.initializer.append(numpy_helper.from_array(sizes, name))
            node.input[1] = name
        joined = _joined(node, shapes, constants) if node.op_type == "Concat" else None
        if joined is None:
            nodes.append(node)
            continue
        images, pads, table = joined
        for suffix, array in (("pads", pads), ("table", table)):
            graph.initializer.append(numpy_helper.from_array(array, f"{name}_{suffix}"))
        nodes.append(
            helper.make_node("Pad", [images, f"{name}_pads"], [f"{name}_padded"], name=f"{name}_Pad")
        )
        nodes.append(
            helper.make_node("Add", [f"{name}_padded", f"{name}_table"], node.output, name=f"{name}_Add")
        )
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(copies)
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    graph.output[0].type.tensor_type.ClearField("shape")
    return result


def _batch_axis(shape: list[int], other: list[int]) -> int:
    """Return the only axis in which the shape of a tensor differs from the `other`, its shape with another batch; 0 by default."""
    changed = [axis for axis, sizes in enumerate(zip(shape, other)) if sizes[0] != sizes[1]]
    return changed[0] if len(changed) == 1 else 0


def takes_any_batch(graph: onnx.ModelProto) -> bool:
    """Return whether the batch of `graph` is symbolic, and whether shape inference finds every shape with 2 and with 5 images."""
    dim = graph.graph.input[0].type.tensor_type.shape.dim[0]
    return not dim.HasField("dim_value") and not any(unknown_shape(graph, batch=batch) for batch in (2, 5))


def _shapes(network: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shape of each tensor of which shape inference knows every size."""
    inferred = onnx.shape_inference.infer_shapes(network, data_prop=True).graph
    shapes = {}
    for value in [*inferred.value_info, *inferred.input, *inferred.output]:
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = [dim.dim_value for dim in dims]
    return shapes


def _joined(
    node: onnx.NodeProto, shapes: Mapping[str, list[int]], constants: Mapping[str, NDArray[np.generic]]
) -> tuple[str, NDArray[np.int64], NDArray[np.generic]] | None:
    """Return (images, pads, table) for a Concat of images and one constant: Pad(images, pads) + table is the same.

    Returns None unless every image gets the same constant, before or after its own values.
    """
    axis = next(attribute.i for attribute in node.attribute if attribute.name == "axis")
    fixed = [name for name in node.input if name in constants]
    if len(node.input) != 2 or len(fixed) != 1:
        return None
    images = next(name for name in node.input if name not in constants)
    value, shape = constants[fixed[0]], shapes.get(images)
    if shape is None or axis % value.ndim == 0 or value.dtype != np.float32 or (value != value[:1]).any():
        return None
    axis, before = axis % value.ndim, node.input[0] == fixed[0]
    extent = value.shape[axis]
    pads = np.zeros(2 * len(shape), np.int64)
    pads[axis if before else len(shape) + axis] = extent
    zeros = np.zeros([1, *shape[1:]], value.dtype)
    table = np.concatenate([value[:1], zeros] if before else [zeros, value[:1]], axis=axis)
    return images, pads, table
