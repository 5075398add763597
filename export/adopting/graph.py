"""Build the adopted graph: uint8 crops in, the original network, L2-normalised features out, with static shapes.

Runs the graph only to test that a batch does not change the features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

from export.adopting.batch import bound, freed, slimmed, takes_any_batch
from export.adopting.foreign import Foreign
from export.adopting.original import in_float32
from export.adopting.pixels import Pixels
from export.graph import OPSET, named_batch, unknown_shape, with_batch
from runtime.backends.onnxruntime import session_options
from runtime.errors import ArtifactError, ConfigError
from runtime.spec import InputSpec
from runtime.wording import reason_of

# The newest opset that the oldest supported ONNX Runtime (1.18) reads.
NEWEST_OPSET = 21
# Operators whose output has a size that depends on the pixels, or that give random numbers.
DYNAMIC = {"NonZero", "If", "Loop", "Scan", "Compress", "Unique", "NonMaxSuppression"}
DYNAMIC |= {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
}
PREFIX = "original/"


def adopted_graph(
    foreign: Foreign, pixels: Pixels, spec: InputSpec, *, dim: int
) -> tuple[onnx.ModelProto, int | None]:
    """Return (the adopted FP32 graph, its fixed batch or None).

    The graph takes `images` as `spec` says (uint8-nhwc) and gives `features` (B, `dim`), L2-normalised. Its batch is that of `spec`.
    If `spec` has none but the original has a fixed batch that its operators cannot do without, the graph keeps that batch.

    Raises ConfigError if `spec` contradicts the original, and ArtifactError for a graph that cannot be made static.
    """
    network = _network(foreign, spec)

    def finished(candidate: onnx.ModelProto) -> onnx.ModelProto:
        return _finished(candidate, foreign, pixels, spec, dim)

    refusal: ArtifactError | None = None
    for make in _with_free_batch(network, foreign.batch):
        try:
            graph = finished(make())
        except ArtifactError as error:
            refusal = refusal or error
            continue
        if takes_any_batch(graph) and _batches_agree(graph, spec):
            return (graph if spec.batch is None else with_batch(graph, spec.batch)), spec.batch
    if foreign.batch is not None and spec.batch not in (None, foreign.batch):
        raise ConfigError(
            f"--batch {spec.batch}: {foreign.path} has the batch {foreign.batch} inside its operators; give --batch {foreign.batch}, "
            "or export it again from its own project with a dynamic batch"
        )
    batch = spec.batch or foreign.batch or 1
    try:
        return finished(bound(network, batch)), batch
    except ArtifactError as error:
        raise refusal or error from None


def _with_free_batch(network: onnx.ModelProto, batch: int | None) -> Iterator[Callable[[], onnx.ModelProto]]:
    """Yield functions that make networks of any batch from `network`, whose fixed batch is `batch`: as it is, or rewritten."""
    if batch is None:
        yield lambda: network
        # A constant of one image, such as a table of positions, fits any batch; other networks keep their form with two only.
        for first in (1, 2):
            yield partial(_freed_between, network, first)
    else:
        yield lambda: freed(bound(network, batch))


def _freed_between(network: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    return freed(bound(network, batch), other=bound(network, batch + 1))


def _batches_agree(graph: onnx.ModelProto, spec: InputSpec) -> bool:
    """Return whether `graph` gives the same features for three images at once as for each of them alone."""
    size = (3, spec.height, spec.width, 3)
    images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    try:
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
        )
        at_once = session.run(["features"], {"images": images})[0]
        alone = np.concatenate([session.run(["features"], {"images": image[None]})[0] for image in images])
    # ONNX Runtime's exceptions share no base class but Exception.
    except Exception:
        return False
    # A network that resizes to a constant shape gives features of the batch in this shape, whatever it is given.
    return at_once.shape == alone.shape and np.allclose(at_once, alone, atol=1e-4, equal_nan=True)


def multiply_adds(graph: onnx.ModelProto) -> int:
    """Return the multiply-adds of the convolutions and matrix products of `graph` for one image, whatever its batch is."""
    inferred = onnx.shape_inference.infer_shapes(with_batch(graph, 1), data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*inferred.value_info, *inferred.output, *inferred.input]
    } | {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    total, images = 0, int(shapes["images"][0])
    for node in inferred.node:
        if node.op_type in ("Conv", "MatMul", "Gemm") and {node.output[0], *node.input[:2]} <= set(shapes):
            first, weight = shapes[node.input[0]], shapes[node.input[1]]
            transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
            inner = math.prod(weight[1:]) if node.op_type == "Conv" else first[0 if transposed else -1]
            total += math.prod(shapes[node.output[0]]) * inner
    return total // images


def _network(foreign: Foreign, spec: InputSpec) -> onnx.ModelProto:
    """Return a copy of the original in FP32 and a newer opset, for images of the size of `spec`."""
    model = in_float32(foreign.model)
    if not OPSET <= foreign.opset <= NEWEST_OPSET:
        try:
            model = version_converter.convert_version(model, OPSET)
        # The converter raises several classes of errors.
        except Exception as error:
            raise ArtifactError(
                f"{foreign.path}: its opset {foreign.opset} cannot be converted to {OPSET}: {reason_of(error)}; export it again from "
                "its own project with opset 17"
            ) from None
    (value,) = model.graph.input
    dims = value.type.tensor_type.shape.dim
    axes = (2, 3) if foreign.layout == "nchw" else (1, 2)
    for axis, size in zip((*axes, 1 if foreign.layout == "nchw" else 3), (spec.height, spec.width, 3)):
        dims[axis].dim_value = size
    if foreign.batch is None:
        dims[0].dim_param = "batch"
    # Recorded shapes may hold other sizes than these.
    del model.graph.value_info[:]
    (output,) = model.graph.output
    output.type.tensor_type.ClearField("shape")
    return model


def _finished(
    network: onnx.ModelProto, foreign: Foreign, pixels: Pixels, spec: InputSpec, dim: int
) -> onnx.ModelProto:
    """Return the network between the folded input and the normalisation of its output, simplified and proved static."""
    slim = slimmed(_surrounded(network, foreign, pixels, spec, dim))
    named_nodes(slim)
    if dynamic := sorted({node.op_type for node in slim.graph.node} & DYNAMIC):
        raise ArtifactError(
            f"{foreign.path}: contains {', '.join(dynamic)}, whose results have no fixed size; export it again from its own project "
            f"for the fixed size {spec.height} x {spec.width}"
        )
    if reason := unknown_shape(slim):
        raise ArtifactError(
            f"{foreign.path}: cannot be made static: {reason}; export it again from its own project for the fixed size "
            f"{spec.height} x {spec.width}"
        )
    return named_batch(slim)


def _surrounded(
    network: onnx.ModelProto, foreign: Foreign, pixels: Pixels, spec: InputSpec, dim: int
) -> onnx.ModelProto:
    model = onnx.compose.add_prefix(network, PREFIX)
    graph = model.graph
    first = graph.input[0].type.tensor_type.shape.dim[0]
    batch = first.dim_value or first.dim_param
    before, constants = _pixel_nodes(foreign, pixels, f"{PREFIX}{foreign.input}")
    after, more = _norm_nodes(f"{PREFIX}{foreign.output}")
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in (constants | more).items()
    )
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, spec.height, spec.width, 3])
    graph.input.append(images)
    graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, dim]))
    return model


def _pixel_nodes(
    foreign: Foreign, pixels: Pixels, target: str
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """Return the nodes that make `target`, the original's input, from `images`, and their constants."""
    channels_first = foreign.layout == "nchw"
    shape = (1, 3, 1, 1) if channels_first else (1, 1, 1, 3)
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    constants: dict[str, NDArray[Any]] = {}
    if channels_first:
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if foreign.type != TensorProto.UINT8:
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
        mean, std = (255 * np.array(values).reshape(shape) for values in (pixels.mean, pixels.std))
        if mean.any():
            constants["pixel_mean"] = mean.astype(np.float32)
            steps.append(("Sub", ["pixel_mean"], {}))
        if not np.allclose(std, 1, rtol=1e-12):
            constants["pixel_std"] = std.astype(np.float32)
            steps.append(("Div", ["pixel_std"], {}))
    if pixels.color == "bgr":
        constants["bgr"] = np.array([2, 1, 0], np.int64)
        steps.append(("Gather", ["bgr"], {"axis": 1 if channels_first else 3}))
    if not steps:
        steps.append(("Identity", [], {}))
    nodes, last = [], "images"
    for index, (operator, more, attributes) in enumerate(steps):
        result = target if index + 1 == len(steps) else f"pixels_{index}"
        nodes.append(
            helper.make_node(operator, [last, *more], [result], name=f"input_{operator}", **attributes)
        )
        last = result
    return nodes, constants


def _norm_nodes(source: str) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """Return the nodes that make `features` from the original's output `source`, and their constants."""
    constants: dict[str, NDArray[Any]] = {
        "norm_axes": np.array([1], np.int64),
        "norm_least": np.array(1e-12, np.float32),
    }
    nodes = [
        helper.make_node("Flatten", [source], ["flat"], name="output_Flatten", axis=1),
        helper.make_node("ReduceL2", ["flat", "norm_axes"], ["norms"], name="output_ReduceL2", keepdims=1),
        helper.make_node("Clip", ["norms", "norm_least"], ["safe_norms"], name="output_Clip"),
        helper.make_node("Div", ["flat", "safe_norms"], ["features"], name="output_Div"),
    ]
    return nodes, constants


def named_nodes(model: onnx.ModelProto) -> None:
    """Give every node of `model` a name of its own, in place: groups of layers are stated by node names."""
    used: set[str] = set()
    for index, node in enumerate(model.graph.node):
        name = node.name.removeprefix(PREFIX).strip("/") or f"{node.op_type}_{index}"
        node.name = name if name not in used else f"{name}_{index}"
        used.add(node.name)
