"""INT8 by Q/DQ around the Linear layers, in the form that each target takes. Knows nothing of images or accuracy.

Ranges come from onnxruntime's calibrator: percentile 99.999, which of min-max, percentile 99.9, 99.99, 99.999 and entropy kept
the demo's teacher closest to itself. Its inserter (QDQQuantizer) is not used: it replaces a tensor for every taker, also for those
that stay float, and quantises weights for an FP16 graph after they were rounded to FP16.

For onnxruntime the form is static: dynamic quantisation is 2 to 8 % faster on a CPU and as close to the parent, but takes its ranges
from the whole batch, so that the features of an image change with the images beside it.
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
from export.int8.groups import groups, linear_nodes
from export.tensorrt8 import for_tensorrt8
from runtime.errors import ConfigError, DataError

PERCENTILE = 99.999
# FP16 scales exist in ONNX from here on; TensorRT 10 keeps fused attention with them.
OPSET_FP16_SCALES, IR_FP16_SCALES = 19, 9
# Below it an FP16 scale is a subnormal with too few digits left.
SMALLEST_HALF_SCALE = 2.0**-20

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Scheme:
    """How a target wants its Q/DQ: `symmetric` int8 activations with zero point 0, else uint8 with one; `quantised_weights` int8
    constants, else float constants with a Q of their own; `half` on an FP16 graph with FP16 scales; `largest` integer of a weight."""

    symmetric: bool
    quantised_weights: bool
    half: bool = False
    largest: int = 127


SCHEMES = {
    # u8s8 is what x86 multiplies best; a zero point spends no half of the range on a GELU's missing negatives. Weights of 7 bits:
    # x86 without VNNI saturates with 8, and what keeps it from that at 8 bits takes longer.
    "onnxruntime": Scheme(symmetric=False, quantised_weights=True, largest=63),
    "tensorrt": Scheme(symmetric=True, quantised_weights=True, half=True),
    # its parser refuses int8 constants
    "tensorrt8": Scheme(symmetric=True, quantised_weights=False),
    # what the two above compute, on a CPU and fast: for measurements, not for files
    "tensorrt-on-cpu": Scheme(symmetric=True, quantised_weights=True),
}


def quantise(
    graph: onnx.ModelProto,
    feeds: Iterable[Mapping[str, NDArray[Any]]],
    *,
    target: str,
    skip: Collection[str] = (),
    keep: Collection[str] = (),
) -> onnx.ModelProto:
    """`calibrate` and `with_qdq` in one."""
    return with_qdq(graph, calibrate(graph, feeds), target=target, skip=skip, keep=keep)


def calibrate(
    graph: onnx.ModelProto,
    feeds: Iterable[Mapping[str, NDArray[Any]]],
    *,
    percentile: float = PERCENTILE,
) -> Ranges:
    """(lowest, highest) value of the input of every Linear of `groups`, by tensor name, but for a tail of 100 - `percentile` %.

    `feeds`: input name -> array, one dict a batch; only one batch's tensors are in memory. DataError without feeds.
    """
    from onnxruntime.quantization import CalibrationDataReader
    from onnxruntime.quantization.calibrate import PercentileCalibrater

    class One(CalibrationDataReader):  # type: ignore[misc]
        """A single feed."""

        def __init__(self, feed: Mapping[str, NDArray[Any]]) -> None:
            self.feed: dict[str, NDArray[Any]] | None = dict(feed)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            feed, self.feed = self.feed, None
            return feed

    wanted = sorted({node.input[0] for node in _members(graph, ()).values()})
    measured = False
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        probed = _showing(graph, wanted)
        onnx.save(probed, Path(folder) / "model.onnx")
        del probed
        calibrater = PercentileCalibrater(
            Path(folder) / "model.onnx",
            augmented_model_path=str(Path(folder) / "probed.onnx"),
            percentile=percentile,
        )
        infos = {value.name: value for value in calibrater.model.graph.output}
        calibrater.select_tensors_to_calibrate = lambda model: (set(wanted), infos)
        calibrater.augment_graph()
        calibrater.create_inference_session()
        for feed in feeds:
            measured = True
            # one at a time: the calibrater keeps all tensors of all feeds that it is given at once
            calibrater.collect_data(One(feed))
        if not measured:
            raise DataError("no images to measure INT8 ranges on; give --calibration DIR")
        found = calibrater.compute_data()
    return {name: (float(low), float(high)) for name in wanted for low, high in [found[name].range_value]}


def with_qdq(
    graph: onnx.ModelProto,
    ranges: Ranges,
    *,
    target: str,
    skip: Collection[str] = (),
    keep: Collection[str] = (),
) -> onnx.ModelProto:
    """The FP32 `graph` with its Linears (but for the groups in `skip`) in INT8: per-channel symmetric weights, per-tensor activations.

    Biases stay float. `target` (see SCHEMES) tensorrt: FP16 elsewhere, but for the nodes in `keep` (`to_fp16`); tensorrt8: also
    rewritten by `for_tensorrt8`. ConfigError: unknown target or group.
    """
    if target not in SCHEMES:
        raise ConfigError(f"--target {target}: INT8 is written for {', '.join(SCHEMES)}")
    scheme, names = SCHEMES[target], _members(graph, skip)
    tensors = {name: ranges[node.input[0]] for name, node in names.items()}
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    matrices = {name: numpy_helper.to_array(weights[node.input[1]]) for name, node in names.items()}
    if scheme.half:
        graph = to_fp16(graph, keep=keep)
    types = element_types(graph) if scheme.half else {}
    result = without_tensors(graph)
    result.graph.ClearField("node")
    constants: dict[str, TensorProto] = {}
    pairs: dict[str, str] = {}
    for original in graph.graph.node:
        if original.name in names:
            node = onnx.NodeProto()
            node.CopyFrom(original)
            half = types.get(node.input[0]) == TensorProto.FLOAT16
            kind = np.dtype(np.float16 if half else np.float32)
            made = _activation(node.input[0], tensors[node.name], scheme, kind)
            made += _weight(node, matrices[node.name], scheme, kind)
            for index, (output, nodes, tensors_made) in enumerate(made):
                if output not in pairs:
                    pairs[output] = output
                    result.graph.node.extend(nodes)
                    constants |= {tensor.name: tensor for tensor in tensors_made}
                node.input[index] = output
            result.graph.node.append(node)
        else:
            result.graph.node.append(original)
    used = {name for node in result.graph.node for name in node.input}
    result.graph.initializer.extend(tensor for tensor in graph.graph.initializer if tensor.name in used)
    result.graph.initializer.extend(constants.values())
    if scheme.half:
        raise_opset(result)
    return for_tensorrt8(result) if target == "tensorrt8" else result


def _members(graph: onnx.ModelProto, skip: Collection[str]) -> dict[str, onnx.NodeProto]:
    """The Linears of all groups but those in `skip`, by node name; ConfigError for a group that is not there."""
    found, linears = groups(graph), linear_nodes(graph)
    if unknown := sorted(set(skip) - set(found)):
        raise ConfigError(f"no group {unknown[0]} of Linear layers in this model; it has {', '.join(found)}")
    return {name: linears[name] for group, names in found.items() if group not in skip for name in names}


# (the tensor that a node takes instead, the nodes that make it, the constants that they need)
Made = tuple[str, list[onnx.NodeProto], list[TensorProto]]


def _activation(tensor: str, bounds: tuple[float, float], scheme: Scheme, kind: np.dtype[Any]) -> list[Made]:
    # 0 must be among the values: it is what padding and a GELU's tail are made of
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    span = 2 * max(-low, high) / 254 if scheme.symmetric else (high - low) / 255
    scale = stored_scale(np.array(span), kind)
    integer = np.dtype(np.int8 if scheme.symmetric else np.uint8)
    zero = np.array(0 if scheme.symmetric else round(-low / float(scale)), integer)
    return [_pair(tensor, scale, zero, axis=None, source=tensor)]


def _weight(node: onnx.NodeProto, matrix: NDArray[Any], scheme: Scheme, kind: np.dtype[Any]) -> list[Made]:
    """Quantised from the FP32 matrix with the scales as they are stored, so that FP16 scales cost no accuracy."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    axis = 0 if transposed else 1
    scale = stored_scale(np.abs(matrix).max(axis=1 - axis) / scheme.largest, kind)
    zero = np.zeros(len(scale), np.int8)
    name = node.input[1]
    if not scheme.quantised_weights:
        return [_pair(name, scale, zero, axis=axis, source=name)]
    shape = (-1, 1) if transposed else (1, -1)
    integers = quantised(matrix, scale.astype(np.float64).reshape(shape), largest=scheme.largest)
    output, nodes, constants = _pair(name, scale, zero, axis=axis, source=f"{name}_int8")
    return [(output, nodes[1:], [*constants, numpy_helper.from_array(integers, f"{name}_int8")])]


def _pair(tensor: str, scale: NDArray[Any], zero: NDArray[Any], *, axis: int | None, source: str) -> Made:
    """Q and DQ of a tensor. `source` other than `tensor`: it is quantised already, and DQ takes that."""
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
    """Scales in the float type that stores them, never 0: a column of zeros has one too."""
    floor = SMALLEST_HALF_SCALE if kind == np.float16 else float(np.finfo(np.float32).tiny)
    stored: NDArray[Any] = np.maximum(scale, floor).astype(kind)
    return stored


def quantised(values: NDArray[Any], scale: NDArray[np.float64], *, largest: int = 127) -> NDArray[np.int8]:
    """Values over scale, rounded to even, within -`largest`..`largest`."""
    integers: NDArray[np.int8] = np.clip(np.rint(values / scale), -largest, largest).astype(np.int8)
    return integers


def _showing(graph: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
    """The model with `tensors` as outputs beside its own."""
    result = without_tensors(graph)
    result.graph.initializer.extend(graph.graph.initializer)
    for name in tensors:
        result.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return result


def raise_opset(graph: onnx.ModelProto) -> None:
    """Declare opset 19 and its IR version at least, in place: 18 to 19 changed only the types that our operators take."""
    graph.ir_version = max(graph.ir_version, IR_FP16_SCALES)
    for opset in graph.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, OPSET_FP16_SCALES)
