"""Quantise Linear layers to INT8 with Q/DQ nodes, in the form that each target accepts. Measures no accuracy.

The value ranges come from onnxruntime's calibrator with percentile 99.999. Of min-max, entropy and the percentiles 99.9, 99.99 and
99.999, this percentile changed the FP32 features of the unpruned model of data/demo least. onnxruntime's code that inserts Q/DQ nodes
(QDQQuantizer) is not used: it quantises a tensor for all its consumers, also for those that stay float, and it quantises the
weights of an FP16 graph after they were rounded to FP16.

The form for onnxruntime is static: its ranges are constants. Dynamic quantisation is a few percent faster on a CPU and as close to the
torch model. But its ranges are those of the whole batch, so the features of an image would depend on the rest of the batch.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.fp16.convert import element_types, to_fp16, without_tensors
from export.int8.convolutions import chained, least_scales, own_weights, tails
from export.int8.groups import groups, layers
from export.tensorrt8 import for_tensorrt8
from runtime.errors import ConfigError, DataError

PERCENTILE = 99.999
# ONNX has FP16 scales from this opset and IR version on; with them TensorRT 10 keeps fused attention.
OPSET_FP16_SCALES, IR_FP16_SCALES = 19, 9
# The smallest FP16 scale used; a much smaller one would be a subnormal number with too few digits.
SMALLEST_HALF_SCALE = 2.0**-20

# Tensor name -> its (lowest, highest) value.
Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Scheme:
    """The form of INT8 that a target accepts, made of QuantizeLinear (Q) and DequantizeLinear (DQ) nodes.

    Activations are int8 with zero point 0 if `symmetric`, else uint8 with a zero point. Weights are int8 constants before a DQ if
    `quantised_weights`, else float constants before a Q and a DQ. The rest of the graph and the scales are FP16 if `half`, else FP32.
    The integers of the weights are -`largest`..`largest`.
    """

    symmetric: bool
    quantised_weights: bool
    half: bool = False
    largest: int = 127


SCHEMES = {
    # x86 multiplies u8 by s8 fastest, and with a zero point no half of the range is lost on values that a GELU never gives. Weights
    # have 7 bits because x86 without VNNI saturates with 8, and preventing that at 8 bits takes longer.
    "onnxruntime": Scheme(symmetric=False, quantised_weights=True, largest=63),
    "tensorrt": Scheme(symmetric=True, quantised_weights=True, half=True),
    # The parser of TensorRT 8.6 refuses int8 constants.
    "tensorrt8": Scheme(symmetric=True, quantised_weights=False),
    # The arithmetic of the two TensorRT schemes in a form that is fast on a CPU: for measurements, not for files.
    "tensorrt-on-cpu": Scheme(symmetric=True, quantised_weights=True),
}


def quantise(
    graph: onnx.ModelProto,
    feeds: Iterable[Mapping[str, NDArray[Any]]],
    *,
    target: str,
    skip: Collection[str] = (),
    keep_fp32: Collection[str] = (),
) -> onnx.ModelProto:
    """Return a copy of the FP32 `graph` with its Linear layers in INT8, with the ranges that `calibrate` measures on `feeds`.

    The other parameters are those of `with_qdq`.
    """
    return with_qdq(graph, calibrate(graph, feeds), target=target, skip=skip, keep_fp32=keep_fp32)


def calibrate(
    graph: onnx.ModelProto,
    feeds: Iterable[Mapping[str, NDArray[Any]]],
    *,
    percentile: float = PERCENTILE,
) -> Ranges:
    """Return {tensor name: (lowest, highest) value} for the inputs of the Linear layers that `groups` finds in the FP32 `graph`.

    The range of a tensor contains about `percentile` % of its values; half of the others lie below the range and half above it.
    `feeds` has one {input name: array} for each batch, and the tensors of only one batch are in memory at a time. Raises DataError
    when there are no feeds.
    """
    from onnxruntime.quantization import CalibrationDataReader
    from onnxruntime.quantization.calibrate import PercentileCalibrater

    class SingleFeed(CalibrationDataReader):  # type: ignore[misc]
        """A reader of one feed."""

        def __init__(self, feed: Mapping[str, NDArray[Any]]) -> None:
            self.feed: dict[str, NDArray[Any]] | None = dict(feed)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            feed, self.feed = self.feed, None
            return feed

    nodes = _quantised_linears(graph, ())
    inputs = sorted({node.input[0] for node in nodes.values()} | set(tails(graph, nodes).values()))
    measured = False
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        probed = _with_outputs(graph, inputs)
        onnx.save(probed, Path(folder) / "model.onnx")
        del probed
        calibrater = PercentileCalibrater(
            Path(folder) / "model.onnx",
            augmented_model_path=str(Path(folder) / "probed.onnx"),
            percentile=percentile,
        )
        infos = {value.name: value for value in calibrater.model.graph.output}
        calibrater.select_tensors_to_calibrate = lambda model: (set(inputs), infos)
        calibrater.augment_graph()
        calibrater.create_inference_session()
        for feed in feeds:
            measured = True
            # One feed at a time: the calibrater keeps all tensors of the feeds that it gets in one call.
            calibrater.collect_data(SingleFeed(feed))
        if not measured:
            raise DataError("there are no images to measure INT8 ranges on; give --calibration DIR")
        computed = calibrater.compute_data()
    return {name: (float(low), float(high)) for name in inputs for low, high in [computed[name].range_value]}


def with_qdq(
    graph: onnx.ModelProto,
    ranges: Ranges,
    *,
    target: str,
    skip: Collection[str] = (),
    keep_fp32: Collection[str] = (),
) -> onnx.ModelProto:
    """Return a copy of the FP32 `graph` with its Linear layers in INT8: per-channel symmetric weights and per-tensor activations.

    `ranges` are those of `calibrate`. The groups in `skip` (names as in `groups`) and all biases stay float. For the target tensorrt,
    all other nodes become FP16 except those in `keep_fp32` (names as in `to_fp16`). For tensorrt8, the graph is also rewritten by
    `for_tensorrt8`. SCHEMES lists the targets. Raises ConfigError for an unknown target or group.
    """
    if target not in SCHEMES:
        raise ConfigError(f"--target {target}: INT8 is supported for {', '.join(SCHEMES)}")
    graph = graph if target == "onnxruntime" else own_weights(graph)
    scheme, linears = SCHEMES[target], _quantised_linears(graph, skip)
    bounds = {name: ranges[node.input[0]] for name, node in linears.items()}
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    matrices = {name: numpy_helper.to_array(weights[node.input[1]]) for name, node in linears.items()}
    least = least_scales(linears, {name: _step(pair, scheme) for name, pair in bounds.items()}, weights)
    if scheme.half:
        graph = to_fp16(graph, keep_fp32=keep_fp32)
    types = element_types(graph) if scheme.half else {}
    result = without_tensors(graph)
    result.graph.ClearField("node")
    constants: dict[str, TensorProto] = {}
    added: set[str] = set()
    for original in graph.graph.node:
        if original.name in linears:
            node = onnx.NodeProto()
            node.CopyFrom(original)
            half = types.get(node.input[0]) == TensorProto.FLOAT16
            kind = np.dtype(np.float16 if half else np.float32)
            replacements = _activation(node.input[0], bounds[node.name], scheme, kind)
            replacements += _weight(node, matrices[node.name], least.get(node.input[1]), scheme, kind)
            for index, (output, nodes, new_constants) in enumerate(replacements):
                if output not in added:
                    added.add(output)
                    result.graph.node.extend(nodes)
                    constants |= {tensor.name: tensor for tensor in new_constants}
                node.input[index] = output
            result.graph.node.append(node)
        else:
            result.graph.node.append(original)
    if target == "onnxruntime":
        outputs = {
            tensor: _activation(tensor, ranges[tensor], scheme, np.dtype(np.float32))[0]
            for tensor in tails(graph, linears).values()
        }
        constants |= chained(result, constants | weights, outputs)
    used = {name for node in result.graph.node for name in node.input}
    result.graph.initializer.extend(tensor for tensor in graph.graph.initializer if tensor.name in used)
    result.graph.initializer.extend(constants.values())
    if scheme.half:
        raise_opset(result)
    return for_tensorrt8(result) if target == "tensorrt8" else result


def _quantised_linears(graph: onnx.ModelProto, skip: Collection[str]) -> dict[str, onnx.NodeProto]:
    """Return the Linears of all groups except those in `skip`, by node name; raise ConfigError for an unknown group."""
    all_groups, linears = groups(graph), layers(graph)
    if unknown := sorted(set(skip) - set(all_groups)):
        raise ConfigError(f"this model has no group {unknown[0]} of layers; it has {', '.join(all_groups)}")
    return {name: linears[name] for group, names in all_groups.items() if group not in skip for name in names}


# (the tensor that replaces a node's input, the nodes that produce it, the constants of these nodes)
Replacement = tuple[str, list[onnx.NodeProto], list[TensorProto]]


def _activation(
    tensor: str, bounds: tuple[float, float], scheme: Scheme, kind: np.dtype[Any]
) -> list[Replacement]:
    scale = stored_scale(np.array(_step(bounds, scheme)), kind)
    integer = np.dtype(np.int8 if scheme.symmetric else np.uint8)
    zero = np.array(0 if scheme.symmetric else round(max(-bounds[0], 0.0) / float(scale)), integer)
    return [_qdq_pair(tensor, scale, zero, axis=None, source=tensor)]


def _step(bounds: tuple[float, float], scheme: Scheme) -> float:
    """Return the distance of two neighbouring values of an activation in the range `bounds`."""
    # The range must include 0, because padding and the tail of a GELU consist of zeros.
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    return 2 * max(-low, high) / 254 if scheme.symmetric else (high - low) / 255


def _weight(
    node: onnx.NodeProto,
    matrix: NDArray[Any],
    least: NDArray[np.float64] | None,
    scheme: Scheme,
    kind: np.dtype[Any],
) -> list[Replacement]:
    """Quantise the FP32 matrix with the scales as they are stored (FP16 costs no accuracy), none of them below `least`."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    # The axis of the output channels.
    axis = 0 if transposed or node.op_type == "Conv" else 1
    others = tuple(other for other in range(matrix.ndim) if other != axis)
    exact = np.abs(matrix).max(axis=others) / scheme.largest
    scale = stored_scale(exact if least is None else np.maximum(exact, least), kind)
    zero = np.zeros(len(scale), np.int8)
    name = node.input[1]
    if not scheme.quantised_weights:
        return [_qdq_pair(name, scale, zero, axis=axis, source=name)]
    shape = [-1 if other == axis else 1 for other in range(matrix.ndim)]
    integers = quantised(matrix, scale.astype(np.float64).reshape(shape), largest=scheme.largest)
    output, nodes, constants = _qdq_pair(name, scale, zero, axis=axis, source=f"{name}_int8")
    return [(output, nodes[1:], [*constants, numpy_helper.from_array(integers, f"{name}_int8")])]


def _qdq_pair(
    tensor: str, scale: NDArray[Any], zero: NDArray[Any], *, axis: int | None, source: str
) -> Replacement:
    """Return the Q and DQ nodes of a tensor; if `source` is another tensor, it is already quantised and feeds the DQ."""
    options: dict[str, Any] = {} if axis is None else {"axis": axis}
    names = [f"{tensor}_scale", f"{tensor}_zero"]
    middle = source if source != tensor else f"{tensor}_q"
    quantise = helper.make_node(
        "QuantizeLinear", [tensor, *names], [middle], name=f"quantise_{tensor}", **options
    )
    back = helper.make_node(
        "DequantizeLinear", [middle, *names], [f"{tensor}_dq"], name=f"dequantise_{tensor}", **options
    )
    constants = [numpy_helper.from_array(value, name) for value, name in zip((scale, zero), names)]
    return f"{tensor}_dq", [quantise, back], constants


def stored_scale(scale: NDArray[np.float64], kind: np.dtype[Any]) -> NDArray[Any]:
    """Return a copy of `scale` in the float type `kind` (float16 or float32), in which the graph stores it.

    A scale below SMALLEST_HALF_SCALE (float16) or the smallest normal number (float32) is raised to this value. So no scale is 0,
    even if all weights of a column are 0.
    """
    floor = SMALLEST_HALF_SCALE if kind == np.float16 else float(np.finfo(np.float32).tiny)
    stored: NDArray[Any] = np.maximum(scale, floor).astype(kind)
    return stored


def quantised(values: NDArray[Any], scale: NDArray[np.float64], *, largest: int = 127) -> NDArray[np.int8]:
    """Return values / scale, rounded to nearest with ties to even, and clipped to -`largest`..`largest`."""
    integers: NDArray[np.int8] = np.clip(np.rint(values / scale), -largest, largest).astype(np.int8)
    return integers


def _with_outputs(graph: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
    """Return the model with `tensors` as additional outputs."""
    result = without_tensors(graph)
    result.graph.initializer.extend(graph.graph.initializer)
    for name in tensors:
        result.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return result


def raise_opset(graph: onnx.ModelProto) -> None:
    """Raise the declared opset to at least 19 and the IR version to match, in place.

    The nodes need no change: for the operators used here, opset 19 differs from 18 only in the types that they accept.
    """
    graph.ir_version = max(graph.ir_version, IR_FP16_SCALES)
    for opset in graph.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, OPSET_FP16_SCALES)
