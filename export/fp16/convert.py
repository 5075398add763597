"""Convert an FP32 graph to a typed FP16 graph that strongly typed engines accept. Uses no images and measures no accuracy.

The converter of onnxruntime (transformers.float16, tried in 1.32) is not used. It silently clamps values that FP16 cannot hold,
rounds to FP16 and back between nodes that stay FP32, and appends its casts after their consumers, which ONNX's checker refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from runtime.errors import ArtifactError, ConfigError

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
FLOATS = {FLOAT, HALF, TensorProto.BFLOAT16, TensorProto.DOUBLE}
# The largest FP16 number, and the smallest one with full precision.
LARGEST, SMALLEST = 65504.0, 2.0**-14
# The lowest value of an additive mask: exp() of it is 0, and it stays within FP16 when a score is added.
MASK = -1e4
# Norms stay FP32: in FP16, a sum of thousands of squares overflows, and the 1e-12 that guards the division becomes 0.
NORMS = {"ReduceL2", "ReduceSumSquare", "LpNormalization"}
PIXEL_ARITHMETIC = {"Sub", "Div", "Mul", "Add"}
PIXEL_MOVES = {"Cast", "Transpose"}
FLOAT_INPUTS = {"Resize": 2}  # {operator: the index of its input that ONNX wants in FP32}
# Type inference sees the values of constants of up to this many elements, because they may determine shapes.
SMALL = 64


def to_fp16(graph: onnx.ModelProto, *, keep_fp32: Collection[str] = ()) -> onnx.ModelProto:
    """Return a copy of the FP32 `graph` that computes in FP16; its inputs and outputs keep their names and types.

    The nodes in `keep_fp32` (names as in `node_name`) and those of `always_fp32` stay FP32. Casts are added only where the type
    changes, one per tensor. Additive masks are limited to -1e4. Raises ConfigError when `keep_fp32` names a node that does not
    exist. Raises ArtifactError for a constant of an FP16 node that FP16 cannot hold, and when a node would mix float types.
    """
    if unknown := sorted(set(keep_fp32) - {node_name(node) for node in graph.graph.node}):
        raise ConfigError(f"keep_fp32: {unknown[0]} cannot be kept in FP32: no such node; correct the name")
    graph = cast_first(graph)
    result = without_tensors(graph)
    result.graph.ClearField("node")
    conversion = _Conversion(graph, set(keep_fp32) | always_fp32(graph))
    result.graph.node.extend(conversion.nodes())
    result.graph.initializer.extend(conversion.constants.values())
    if conflicts := type_conflicts(result):
        raise ArtifactError(
            f"conversion to FP16 failed: {conflicts[0]}; export with --precision fp32, and report this as a bug of this project"
        )
    return result


def node_name(node: onnx.NodeProto) -> str:
    """Return the node's name, or the name of its first output if it has none."""
    return node.name or node.output[0]


def always_fp32(graph: onnx.ModelProto) -> set[str]:
    """Return the names of the nodes that stay FP32 in every FP16 graph: pixel normalisation and the final L2-normalisation.

    A graph without pixel normalisation may cast pixels 0..255; this cast is not returned, since FP16 holds these numbers exactly.
    """
    nodes, constants = graph.graph.node, {tensor.name for tensor in graph.graph.initializer}
    pixels = {
        value.name
        for value in graph.graph.input
        if value.type.tensor_type.elem_type in (FLOAT, TensorProto.UINT8)
    }
    pixel_nodes: list[onnx.NodeProto] = []
    into_arithmetic: set[str] = set()
    after_norm: set[str] = set()
    fp32_nodes: set[str] = set()
    for node in nodes:
        inputs = set(node.input) - constants
        if inputs and inputs <= pixels and node.op_type in PIXEL_ARITHMETIC | PIXEL_MOVES:
            pixels |= set(node.output)
            pixel_nodes.append(node)
        if node.op_type in NORMS or after_norm & set(node.input):
            after_norm |= set(node.output)
            fp32_nodes.add(node_name(node))
    for node in reversed(pixel_nodes):
        # Nodes that only move pixels after the last arithmetic are left out: they are cheaper in FP16.
        if node.op_type in PIXEL_ARITHMETIC or into_arithmetic & set(node.output):
            into_arithmetic |= set(node.input)
            fp32_nodes.add(node_name(node))
    return fp32_nodes


def cast_first(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `graph` that casts uint8 images before it transposes them: TensorRT accepts uint8 only as input of a Cast.

    `images -> Transpose -> t -> Cast -> f` becomes `images -> Cast -> t -> Transpose -> f`: `t` is now float and not transposed.
    """
    uint8 = {
        value.name for value in graph.graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8
    }
    result = onnx.ModelProto()
    result.CopyFrom(graph)
    result.graph.ClearField("value_info")
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in result.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    for node in result.graph.node:
        following = consumers.get(node.output[0], [])
        if (
            node.op_type == "Transpose"
            and node.input[0] in uint8
            and [consumer.op_type for consumer in following] == ["Cast"]
        ):
            transpose = onnx.NodeProto()
            transpose.CopyFrom(node)
            for target, source in ((node, following[0]), (following[0], transpose)):
                target.name, target.op_type = source.name, source.op_type
                target.ClearField("attribute")
                target.attribute.extend(source.attribute)
    return result


def mask_names(graph: onnx.ModelProto) -> set[str]:
    """Return the names of the additive masks: constants that are only ever added to the input of a softmax."""
    softmax_inputs = {name for node in graph.graph.node if node.op_type == "Softmax" for name in node.input}
    masks: set[str] = set()
    others: set[str] = set()
    for node in graph.graph.node:
        adds_mask = node.op_type == "Add" and node.output[0] in softmax_inputs
        (masks if adds_mask else others).update(node.input)
    return {tensor.name for tensor in graph.graph.initializer} & (masks - others)


def finite_mask(values: NDArray[Any]) -> NDArray[Any]:
    """Return the additive mask `values` with everything below -1e4, also -inf, raised to -1e4; a softmax gives 0 for both."""
    limited: NDArray[Any] = np.maximum(values, values.dtype.type(MASK))
    return limited


def element_types(graph: onnx.ModelProto) -> dict[str, int]:
    """Return {tensor name: ONNX element type} for the constants and for every tensor whose type can be inferred."""
    skeleton = without_tensors(graph)
    for tensor in graph.graph.initializer:
        if np.prod(tensor.dims) <= SMALL:
            skeleton.graph.initializer.append(tensor)
        else:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            skeleton.graph.input.append(value)
    for value in skeleton.graph.output:
        # The declared type is removed, so that the type of an output is inferred.
        value.ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(skeleton).graph
    values = [*inferred.value_info, *inferred.output, *inferred.input]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.graph.initializer}


def type_conflicts(graph: onnx.ModelProto) -> list[str]:
    """Return one line for each reason why a strongly typed engine would refuse the graph; an empty list if there is none.

    Reasons are nodes other than Cast that mix float types, tensors without a type, and outputs of another type than declared.
    """
    types, conflicts = element_types(graph), []
    for node in graph.graph.node:
        fixed = FLOAT_INPUTS.get(node.op_type)
        names = [name for index, name in enumerate((*node.input, *node.output)) if name and index != fixed]
        label = f"{node.op_type} {node_name(node)}"
        conflicts += [f"{label}: {name} has no type" for name in names if not types.get(name)]
        float_types = {name: types[name] for name in names if types.get(name) in FLOATS}
        if len(set(float_types.values())) > 1 and node.op_type != "Cast":
            mixed = ", ".join(f"{name} {_type(kind)}" for name, kind in float_types.items())
            conflicts.append(f"{label} mixes {mixed}")
    for value in graph.graph.output:
        declared = value.type.tensor_type.elem_type
        if types.get(value.name, declared) != declared:
            conflicts.append(
                f"output {value.name} is {_type(types[value.name])}, not {_type(declared)} as declared"
            )
    return conflicts


def set_cast_target(node: onnx.NodeProto, kind: int) -> None:
    """Set the element type that a Cast node produces to `kind`, in place."""
    next(attribute for attribute in node.attribute if attribute.name == "to").i = kind


def without_tensors(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the model without its constants, which avoids copying hundreds of megabytes."""
    copy = helper.make_model(
        helper.make_graph(graph.graph.node, graph.graph.name, graph.graph.input, graph.graph.output),
        opset_imports=graph.opset_import,
        ir_version=graph.ir_version,
        producer_name=graph.producer_name,
        producer_version=graph.producer_version,
    )
    copy.metadata_props.extend(graph.metadata_props)
    return copy


class _Conversion:
    """One pass over the nodes in order. `constants` collects the constants that the new nodes use, once per type."""

    def __init__(self, graph: onnx.ModelProto, keep_fp32: set[str]) -> None:
        self.graph, self.keep_fp32 = graph.graph, keep_fp32
        self.types, self.masks = element_types(graph), mask_names(graph)
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self.outputs = {value.name for value in self.graph.output}
        self.constants: dict[tuple[str, int], TensorProto] = {}
        # tensor -> the type that its node produces; (tensor, type) -> the name of the tensor in that type
        self.produced = {name: FLOAT for name, kind in self.types.items() if kind == FLOAT}
        self.names: dict[tuple[str, int], str] = {}

    def nodes(self) -> Iterable[onnx.NodeProto]:
        for original in self.graph.node:
            node = onnx.NodeProto()
            node.CopyFrom(original)
            kind = FLOAT if node_name(original) in self.keep_fp32 else HALF
            yield from self._convert_inputs(node, kind)
            yield from self._convert_outputs(node, kind)

    def _convert_inputs(self, node: onnx.NodeProto, kind: int) -> Iterable[onnx.NodeProto]:
        """Point the node's inputs at tensors of its type; yield the casts that do not exist yet."""
        fixed = FLOAT_INPUTS.get(node.op_type)
        for index, name in enumerate(node.input):
            if name in self.initializers:
                node.input[index] = self._constant(name, FLOAT if index == fixed else kind, node)
            elif name in self.produced and (_cast_target(node) is not None or self.produced[name] == kind):
                node.input[index] = self.names.get((name, self.produced[name]), name)
            elif name in self.produced:
                if (name, kind) not in self.names:
                    self.names[name, kind] = self._new_name(name, kind)
                    source = self.names.get((name, self.produced[name]), name)
                    yield _cast(source, self.names[name, kind], kind)
                node.input[index] = self.names[name, kind]

    def _convert_outputs(self, node: onnx.NodeProto, kind: int) -> Iterable[onnx.NodeProto]:
        """Yield the node with outputs of its type, and a cast back to FP32 for each output of the graph."""
        if _cast_target(node) == FLOAT:
            set_cast_target(node, kind)
        float_outputs = [name for name in node.output if name in self.produced]
        self.produced |= dict.fromkeys(float_outputs, kind)
        cast_back = [name for name in float_outputs if name in self.outputs and kind == HALF]
        for name in cast_back:
            self.names |= {(name, HALF): self._new_name(name, HALF), (name, FLOAT): name}
        node.output[:] = [self.names.get((name, kind), name) for name in node.output]
        yield node
        yield from (_cast(self.names[name, HALF], name, FLOAT) for name in cast_back)

    def _constant(self, name: str, kind: int, node: onnx.NodeProto) -> str:
        tensor = self.initializers[name]
        if tensor.data_type != FLOAT:
            self.constants[name, tensor.data_type] = tensor
            return name
        if (name, kind) not in self.constants:
            values = numpy_helper.to_array(tensor)
            if name in self.masks:
                values = finite_mask(values)
            if kind == HALF:
                values = _half(values, name, node)
            # The constant keeps its name in the type that is needed first; in the other type it gets a new name.
            other = HALF if kind == FLOAT else FLOAT
            new_name = self._new_name(name, kind) if (name, other) in self.constants else name
            self.constants[name, kind] = numpy_helper.from_array(values, new_name)
        return self.constants[name, kind].name

    def _new_name(self, name: str, kind: int) -> str:
        new_name = f"{name}_{'fp16' if kind == HALF else 'fp32'}"
        while new_name in self.types:
            new_name += "_"
        return new_name


def _half(values: NDArray[Any], name: str, node: onnx.NodeProto) -> NDArray[np.float16]:
    where = f"constant {name} of {node.op_type} {node_name(node)}"
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ArtifactError(
            f"{where} reaches {np.abs(values).max():.3g}, but FP16 ends at {LARGEST:.0f}; export with --precision fp32"
        )
    # A single number is a guard or a factor, and must not become 0.
    if values.size == 1 and values.any() and not half.any():
        raise ArtifactError(
            f"{where} is {values.item():.3g}, which is 0 in FP16; export with --precision fp32"
        )
    return half


def _type(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower()


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=kind)


def _cast_target(node: onnx.NodeProto) -> int | None:
    """Return the element type that a Cast produces, or None for other operators."""
    targets = (int(attribute.i) for attribute in node.attribute if attribute.name == "to")
    return next(targets) if node.op_type == "Cast" else None
