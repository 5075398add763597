"""FP32 graph to typed FP16 graph, clean for strongly typed engines. Knows nothing of images or accuracy.

onnxruntime.transformers.float16 was tried (1.32): it clamps what FP16 cannot hold without a word, rounds to FP16 and back between kept
nodes, and appends its casts behind their users, so that ONNX's own checker refuses the result.
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
# FP16's largest number, and its smallest with full precision.
LARGEST, SMALLEST = 65504.0, 2.0**-14
# What an additive mask holds at most: exp() of it is 0, and a score added to it stays within FP16.
MASK = -1e4
# Squares of thousands of features overflow FP16, and the 1e-12 that guards the division becomes 0.
NORMS = {"ReduceL2", "ReduceSumSquare", "LpNormalization"}
PIXEL_ARITHMETIC = {"Sub", "Div", "Mul", "Add"}
PIXEL_MOVES = {"Cast", "Transpose"}
# Constants up to this many elements may decide shapes, and stay in the graph for type inference.
SMALL = 64


def to_fp16(graph: onnx.ModelProto, *, keep: Collection[str] = ()) -> onnx.ModelProto:
    """The same model, computing in FP16 with FP16 weights; inputs and outputs keep their names and types.

    FP32 stay the nodes in `keep` (names, see `node_name`) and those of `always_wide`; casts stand only where the type changes,
    one for each tensor. Additive masks end at -1e4. ConfigError for a name without a node, ArtifactError for a constant that
    FP16 cannot hold (and no kept node takes), or when the result would mix float types in a node.
    """
    if unknown := sorted(set(keep) - {node_name(node) for node in graph.graph.node}):
        raise ConfigError(f"cannot keep {unknown[0]} in FP32: the graph has no such node")
    graph = cast_first(graph)
    result = without_tensors(graph)
    result.graph.ClearField("node")
    conversion = _Conversion(graph, set(keep) | always_wide(graph))
    result.graph.node.extend(conversion.nodes())
    result.graph.initializer.extend(conversion.constants.values())
    if conflicts := type_conflicts(result):
        raise ArtifactError(f"cannot become FP16: {conflicts[0]}; export with --precision fp32 and report it")
    return result


def node_name(node: onnx.NodeProto) -> str:
    """The node's name, or its first output's where it has none."""
    return node.name or node.output[0]


def always_wide(graph: onnx.ModelProto) -> set[str]:
    """Names of the nodes that are FP32 in every FP16 graph: pixel normalisation in front and the L2-normalisation at the end.

    A bare cast of 0..255 is not among them: FP16 holds those numbers exactly.
    """
    nodes, constants = graph.graph.node, {tensor.name for tensor in graph.graph.initializer}
    pixels = {
        value.name
        for value in graph.graph.input
        if value.type.tensor_type.elem_type in (FLOAT, TensorProto.UINT8)
    }
    front: list[onnx.NodeProto] = []
    arithmetic: set[str] = set()
    tail: set[str] = set()
    wide: set[str] = set()
    for node in nodes:
        taken = set(node.input) - constants
        if taken and taken <= pixels and node.op_type in PIXEL_ARITHMETIC | PIXEL_MOVES:
            pixels |= set(node.output)
            front.append(node)
        if node.op_type in NORMS or tail & set(node.input):
            tail |= set(node.output)
            wide.add(node_name(node))
    for node in reversed(front):
        # moves after the last arithmetic are left out: they are cheaper in FP16
        if node.op_type in PIXEL_ARITHMETIC or arithmetic & set(node.output):
            arithmetic |= set(node.input)
            wide.add(node_name(node))
    return wide


def cast_first(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with Transpose, Cast of its uint8 input as Cast, Transpose: TensorRT takes uint8 into nothing but a cast.

    Tensors keep their names: what was the transposed uint8 image is the untransposed float one.
    """
    raw = {value.name for value in graph.graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8}
    result = onnx.ModelProto()
    result.CopyFrom(graph)
    result.graph.ClearField("value_info")
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in result.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for node in result.graph.node:
        after = users.get(node.output[0], [])
        if (
            node.op_type == "Transpose"
            and node.input[0] in raw
            and [one.op_type for one in after] == ["Cast"]
        ):
            transpose = onnx.NodeProto()
            transpose.CopyFrom(node)
            for target, source in ((node, after[0]), (after[0], transpose)):
                target.name, target.op_type = source.name, source.op_type
                target.ClearField("attribute")
                target.attribute.extend(source.attribute)
    return result


def mask_names(graph: onnx.ModelProto) -> set[str]:
    """Constants that do nothing but get added to what goes into a softmax."""
    into = {name for node in graph.graph.node if node.op_type == "Softmax" for name in node.input}
    masks: set[str] = set()
    others: set[str] = set()
    for node in graph.graph.node:
        adds = node.op_type == "Add" and node.output[0] in into
        (masks if adds else others).update(node.input)
    return {tensor.name for tensor in graph.graph.initializer} & (masks - others)


def finite_mask(values: NDArray[Any]) -> NDArray[Any]:
    """An additive mask of any float type with -1e4 for everything below it, -inf too; exp() of either is 0."""
    limited: NDArray[Any] = np.maximum(values, values.dtype.type(MASK))
    return limited


def element_types(graph: onnx.ModelProto) -> dict[str, int]:
    """ONNX element type of every tensor that type inference reaches."""
    skeleton = without_tensors(graph)
    for tensor in graph.graph.initializer:
        if np.prod(tensor.dims) <= SMALL:
            skeleton.graph.initializer.append(tensor)
        else:
            skeleton.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    for value in skeleton.graph.output:
        # what the file says of them is not believed, it is inferred
        value.ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(skeleton).graph
    values = [*inferred.value_info, *inferred.output, *inferred.input]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.graph.initializer}


def type_conflicts(graph: onnx.ModelProto) -> list[str]:
    """What a strongly typed engine would refuse, a line each: nodes with more than one float type, tensors without a type.

    Stricter than ONNX, which lets some operators mix. Cast is the one operator that may change a float type.
    """
    types, found = element_types(graph), []
    for node in graph.graph.node:
        names = [name for name in (*node.input, *node.output) if name]
        label = f"{node.op_type} {node_name(node)}"
        found += [f"{label}: {name} has no type" for name in names if not types.get(name)]
        kinds = {name: types[name] for name in names if types.get(name) in FLOATS}
        if len(set(kinds.values())) > 1 and node.op_type != "Cast":
            found.append(
                f"{label} mixes " + ", ".join(f"{name} {_type(kind)}" for name, kind in kinds.items())
            )
    for value in graph.graph.output:
        declared = value.type.tensor_type.elem_type
        if types.get(value.name, declared) != declared:
            found.append(f"output {value.name} is {_type(types[value.name])}, declared {_type(declared)}")
    return found


def set_cast_target(node: onnx.NodeProto, kind: int) -> None:
    """Let a Cast node give tensors of another element type, in place."""
    next(attribute for attribute in node.attribute if attribute.name == "to").i = kind


def without_tensors(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model without its constants, so that hundreds of megabytes are not copied for a look at its nodes."""
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
    """One pass over the nodes in order; `constants` fills as they are needed, each type of each constant once."""

    def __init__(self, graph: onnx.ModelProto, wide: set[str]) -> None:
        self.graph, self.wide = graph.graph, wide
        self.types = element_types(graph)
        self.masks = mask_names(graph)
        self.given = {tensor.name: tensor for tensor in self.graph.initializer}
        self.outputs = {value.name for value in self.graph.output}
        self.constants: dict[tuple[str, int], TensorProto] = {}
        # tensor -> the type its node gives it; (tensor, type) -> the name under which it is that type
        self.held = {name: FLOAT for name, kind in self.types.items() if kind == FLOAT}
        self.names: dict[tuple[str, int], str] = {}

    def nodes(self) -> Iterable[onnx.NodeProto]:
        for original in self.graph.node:
            node = onnx.NodeProto()
            node.CopyFrom(original)
            kind = FLOAT if node_name(original) in self.wide else HALF
            yield from self._take(node, kind)
            yield from self._give(node, kind)

    def _take(self, node: onnx.NodeProto, kind: int) -> Iterable[onnx.NodeProto]:
        """Point the node's inputs at tensors of its type; the casts that are needed and not there yet."""
        for place, name in enumerate(node.input):
            if name in self.given:
                node.input[place] = self._constant(name, kind, node)
            elif name in self.held and (_cast_target(node) is not None or self.held[name] == kind):
                node.input[place] = self.names.get((name, self.held[name]), name)
            elif name in self.held:
                if (name, kind) not in self.names:
                    self.names[name, kind] = self._fresh(name, kind)
                    source = self.names.get((name, self.held[name]), name)
                    yield _cast(source, self.names[name, kind], kind)
                node.input[place] = self.names[name, kind]

    def _give(self, node: onnx.NodeProto, kind: int) -> Iterable[onnx.NodeProto]:
        """The node with outputs of its type, and the cast back of an output of the graph."""
        if _cast_target(node) == FLOAT:
            set_cast_target(node, kind)
        results = [name for name in node.output if name in self.held]
        self.held |= dict.fromkeys(results, kind)
        back = [name for name in results if name in self.outputs and kind == HALF]
        for name in back:
            self.names |= {(name, HALF): self._fresh(name, HALF), (name, FLOAT): name}
        node.output[:] = [self.names.get((name, kind), name) for name in node.output]
        yield node
        yield from (_cast(self.names[name, HALF], name, FLOAT) for name in back)

    def _constant(self, name: str, kind: int, node: onnx.NodeProto) -> str:
        tensor = self.given[name]
        if tensor.data_type != FLOAT:
            self.constants[name, tensor.data_type] = tensor
            return name
        if (name, kind) not in self.constants:
            values = numpy_helper.to_array(tensor)
            if name in self.masks:
                values = finite_mask(values)
            if kind == HALF:
                values = _half(values, name, node)
            # the name stays with the first type that is asked for
            other = HALF if kind == FLOAT else FLOAT
            title = self._fresh(name, kind) if (name, other) in self.constants else name
            self.constants[name, kind] = numpy_helper.from_array(values, title)
        return self.constants[name, kind].name

    def _fresh(self, name: str, kind: int) -> str:
        title = f"{name}_{'fp16' if kind == HALF else 'fp32'}"
        while title in self.types:
            title += "_"
        return title


def _half(values: NDArray[Any], name: str, node: onnx.NodeProto) -> NDArray[np.float16]:
    where = f"constant {name} of {node.op_type} {node_name(node)}"
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ArtifactError(
            f"{where} reaches {np.abs(values).max():.3g}, FP16 ends at {LARGEST:.0f}; export with --precision fp32"
        )
    # one number is a guard or a factor, and 0 is neither
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
    """The element type that a Cast gives, None for other operators."""
    if node.op_type != "Cast":
        return None
    return int(next(attribute.i for attribute in node.attribute if attribute.name == "to"))
