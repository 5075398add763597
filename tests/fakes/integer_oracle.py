"""Evaluate an exported INT8 graph with NumPy: products of integers in int32, and everything else in float64.

Only the operators that this project exports are supported. A matrix product whose two inputs come from DequantizeLinear is computed
from their integers. It cannot saturate, because |u8 * s8| * 3072 < 2**31. FP16 values are computed in float64, so an FP16 file
differs from the result by its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
erf = np.vectorize(math.erf, otypes=[np.float64])


def evaluate(graph: onnx.ModelProto, feed: Mapping[str, Array]) -> Array:
    """Return the output `features` (N, D) float64 of a graph. `feed` maps the names of its inputs to arrays."""
    values: dict[str, Array] = {"": np.array([])}
    values |= {tensor.name: _wide(numpy_helper.to_array(tensor)) for tensor in graph.graph.initializer}
    values |= {name: _wide(array) for name, array in feed.items()}
    # The name of an output of DequantizeLinear -> its integers minus their zero point, and its scale in a shape that broadcasts.
    integers: dict[str, tuple[Array, Array]] = {}
    for node in graph.graph.node:
        given = [values[name] for name in node.input]
        options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type == "DequantizeLinear":
            scale = _along(given[1], given[0].ndim, options.get("axis", 1))
            whole = given[0].astype(np.int32) - _along(
                given[2].astype(np.int32), given[0].ndim, options.get("axis", 1)
            )
            integers[node.output[0]] = whole, scale
            values[node.output[0]] = whole * scale
        elif node.op_type in ("MatMul", "Gemm") and set(node.input[:2]) <= set(integers):
            values[node.output[0]] = _integer_product(
                node.op_type, options, [integers[name] for name in node.input[:2]], given
            )
        else:
            if node.op_type == "Split":
                # Before opset 18, the number of outputs of the node gives the number of parts.
                options.setdefault("num_outputs", len(node.output))
            made = OPERATORS[node.op_type](given, options)
            values |= dict(zip(node.output, made if isinstance(made, list) else [made], strict=True))
    return values["features"]


def _integer_product(
    kind: str, options: dict[str, Any], pairs: list[tuple[Array, Array]], given: list[Array]
) -> Array:
    (left, left_scale), (right, right_scale) = pairs
    if options.get("transB"):
        right, right_scale = right.T, right_scale.T
    assert left.dtype == right.dtype == np.int32 and left.shape[-1] * 255 * 128 < 2**31
    product = (left @ right) * left_scale * right_scale
    return product + (given[2] if kind == "Gemm" and len(given) > 2 else 0)


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _along(vector: Array, dims: int, axis: int) -> Array:
    """Reshape a scale or zero point so that it broadcasts over `dims` axes. It has one value for each channel of `axis`, or one."""
    if vector.ndim == 0:
        return vector
    shape = [1] * dims
    shape[axis] = -1
    return vector.reshape(shape)


def _quantise(given: list[Array], options: dict[str, Any]) -> Array:
    array, scale, zero = given
    axis = options.get("axis", 1)
    limits = np.iinfo(zero.dtype)
    rounded = np.rint(array / _along(scale, array.ndim, axis)) + _along(
        zero.astype(np.int64), array.ndim, axis
    )
    return np.clip(rounded, limits.min, limits.max).astype(zero.dtype)


def _gemm(given: list[Array], options: dict[str, Any]) -> Array:
    left, right = (
        array.T if options.get(name) else array for array, name in zip(given, ("transA", "transB"))
    )
    offset = options.get("beta", 1.0) * given[2] if len(given) > 2 else 0
    return options.get("alpha", 1.0) * (left @ right) + offset


def _convolution(given: list[Array], options: dict[str, Any]) -> Array:
    images, weight = given[:2]
    assert (
        options.get("group", 1) == 1
        and not any(options.get("pads", []))
        and set(options.get("dilations", [1])) == {1}
    )
    windows = sliding_window_view(images, weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: options["strides"][0], :: options["strides"][1]]
    result = np.einsum("bcyxhw,ochw->boyx", windows, weight, optimize=True)
    return result + (given[2].reshape(1, -1, 1, 1) if len(given) > 2 else 0)


def _norm(given: list[Array], options: dict[str, Any]) -> Array:
    array, scale, offset = given
    centred = array - array.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + options["epsilon"]) * scale + offset


def _softmax(given: list[Array], options: dict[str, Any]) -> Array:
    powers = np.exp(given[0] - given[0].max(axis=options["axis"], keepdims=True))
    return powers / powers.sum(axis=options["axis"], keepdims=True)


def _reshape(given: list[Array], options: dict[str, Any]) -> Array:
    array, shape = given
    keep = not options.get("allowzero", 0)
    return array.reshape([array.shape[at] if size == 0 and keep else size for at, size in enumerate(shape)])


def _pad(given: list[Array], options: dict[str, Any]) -> Array:
    array, pads = given[:2]
    axes = given[3] if len(given) > 3 and given[3].size else np.arange(array.ndim)
    widths = [(0, 0)] * array.ndim
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :]):
        widths[axis] = (int(before), int(after))
    value = given[2] if len(given) > 2 and given[2].size else 0
    return np.pad(array, widths, constant_values=value)


def _slice(given: list[Array], options: dict[str, Any]) -> Array:
    array, starts, ends = given[:3]
    axes = given[3] if len(given) > 3 and given[3].size else np.arange(len(starts))
    steps = given[4] if len(given) > 4 else np.ones(len(starts), int)
    cuts = [slice(None)] * array.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps):
        cuts[axis] = slice(int(start), int(end), int(step))
    return array[tuple(cuts)]


def _split(given: list[Array], options: dict[str, Any]) -> list[Array]:
    cuts = np.cumsum(given[1])[:-1] if len(given) > 1 else options["num_outputs"]
    return np.split(given[0], cuts, axis=options.get("axis", 0))


def _unsqueezed(given: list[Array], options: dict[str, Any]) -> Array:
    return np.expand_dims(given[0], tuple(int(axis) for axis in given[1]))


def _squeezed(given: list[Array], options: dict[str, Any]) -> Array:
    return np.squeeze(given[0], tuple(int(axis) for axis in given[1]) if len(given) > 1 else None)


def _length(given: list[Array], options: dict[str, Any]) -> Array:
    axes = given[1] if len(given) > 1 else options["axes"]
    return np.sqrt(
        (given[0] ** 2).sum(axis=tuple(int(axis) for axis in axes), keepdims=bool(options.get("keepdims", 1)))
    )


def _clip(given: list[Array], options: dict[str, Any]) -> Array:
    low, high = (*(array if array.size else None for array in given[1:]), None, None)[:2]
    return given[0] if low is None and high is None else np.clip(given[0], low, high)


def _cast(given: list[Array], options: dict[str, Any]) -> Array:
    kind = options["to"]
    return given[0].astype(np.float64 if kind in FLOATS else helper.tensor_dtype_to_np_dtype(kind))


OPERATORS = {
    "Add": lambda given, options: given[0] + given[1],
    "Sub": lambda given, options: given[0] - given[1],
    "Mul": lambda given, options: given[0] * given[1],
    "Div": lambda given, options: given[0] / given[1],
    "Sqrt": lambda given, options: np.sqrt(given[0]),
    "Erf": lambda given, options: erf(given[0]),
    "MatMul": lambda given, options: given[0] @ given[1],
    "Gather": lambda given, options: np.take(given[0], given[1], axis=options.get("axis", 0)),
    "Transpose": lambda given, options: np.transpose(given[0], options["perm"]),
    "Shape": lambda given, options: np.array(given[0].shape[options.get("start", 0) : options.get("end")]),
    "Expand": lambda given, options: np.broadcast_to(
        given[0], np.broadcast_shapes(given[0].shape, tuple(given[1]))
    ),
    "Concat": lambda given, options: np.concatenate(given, axis=options["axis"]),
    "Cast": _cast,
    "Clip": _clip,
    "Conv": _convolution,
    "Gemm": _gemm,
    "LayerNormalization": _norm,
    "Pad": _pad,
    "QuantizeLinear": _quantise,
    "ReduceL2": _length,
    "Reshape": _reshape,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
}
