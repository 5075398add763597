"""Damaged ONNX files, in their bytes or in the nodes of their graph with a corrected hash, which run as in `extract`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from PIL import Image

from runtime.__main__ import main
from runtime.files.manifest import manifest_path, sha256
from tests.campaigns.mutate import damaged
from tests.fakes.tiny_model import SPEC, graph, write_model

# The exit codes that are allowed: no usable image, a refused file, a node at which the session failed, features that are not finite.
CODES = (3, 4, 5, 7)
OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})
NUMBERS = (0, 1, -1, 2, 3, 7, 13, 255, 1000, 2**31 - 1, 2**31, -(2**31), 2**40, 2**63 - 1, -(2**63))


@dataclass(frozen=True)
class Material:
    """The undamaged inputs: (graph, manifest) of several models, and an image."""

    models: list[tuple[Any, dict[str, Any]]]
    image: Path


def prepare(folder: Path) -> Material:
    """Make small graphs with and without cameras, of both layouts, with fixed and dynamic batch, and with more operators."""
    specs = [
        SPEC,
        replace(SPEC, camera="input", cameras=3, dataset="anny"),
        replace(SPEC, layout="float-nchw"),
        replace(SPEC, batch=4),
    ]
    image = folder / "0001_c1s1_000001_00.png"
    Image.fromarray(np.arange(32 * 16 * 3, dtype=np.uint8).reshape(32, 16, 3)).save(image)
    models = []
    for spec in specs:
        path = write_model(folder / "model.onnx", spec)
        manifest = json.loads(manifest_path(path).read_text())
        models += [(graph(spec), manifest), (attentive(graph(spec)), manifest)]
    return Material(models, image)


def attentive(model: Any) -> Any:
    """Add the operators that exported graphs have to a small graph: quantisation, normalisation, softmax and reshapes."""
    last = model.graph.node[-1]
    arrays = {
        "scale": np.array(0.05, np.float32),
        "zero": np.array(0, np.int8),
        "gain": np.ones(6, np.float32),
        "shift": np.zeros(6, np.float32),
        "shape": np.array([0, 2, 3], np.int64),
        "back": np.array([0, 6], np.int64),
        "starts": np.array([0], np.int64),
        "ends": np.array([6], np.int64),
        "axes": np.array([1], np.int64),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    nodes = [
        helper.make_node("QuantizeLinear", [last.input[0], "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("LayerNormalization", ["dq", "gain", "shift"], ["ln"], axis=-1),
        helper.make_node("Reshape", ["ln", "shape"], ["split"]),
        helper.make_node("Softmax", ["split"], ["soft"], axis=-1),
        helper.make_node("Transpose", ["soft"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["turned", "turned"], ["twice"], axis=2),
        helper.make_node("Gather", ["twice", "starts"], ["first"], axis=2),
        helper.make_node("MatMul", ["turned", "soft"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["mean"], axes=[2], keepdims=1),
        helper.make_node("Mul", ["first", "mean"], ["product"]),
        helper.make_node("Add", ["soft", "soft"], ["sum"]),
        helper.make_node("Reshape", ["sum", "back"], ["flatter"]),
        helper.make_node("Slice", ["flatter", "starts", "ends", "axes"], ["cut"]),
    ]
    last.input[0] = "cut"
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*kept[:-1], *nodes, kept[-1]])
    return model


def make(material: Material, random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    """Write one damaged file. Return the command that runs it, and whether it must refuse it."""
    whole, manifest = random.choice(material.models)
    original = whole.SerializeToString()
    if random.random() < 0.35:
        data = damaged(original, random)
    else:
        changed = onnx.ModelProto.FromString(original)
        for _ in range(random.choice((1, 1, 2, 3))):
            # An earlier change may have left a graph to which this one cannot be applied.
            with suppress(Exception):
                random.choice(CHANGES)(changed, random)
        data = changed.SerializeToString()
    path, renewed = folder / "bad.onnx", random.random() < 0.75
    path.write_bytes(data)
    manifest_path(path).write_text(json.dumps(manifest | ({"sha256": sha256(path)} if renewed else {})))
    words = ["extract", str(path), str(material.image), "--out", str(folder / "out.npz"), "--threads", "1"]
    # A changed file must be refused, unless its hash in the manifest was corrected.
    return lambda: main(words), data != original and not renewed and sha256(path) != manifest["sha256"]


def _operator(model: Any, random: Random) -> None:
    node = random.choice(model.graph.node)
    node.op_type = random.choice(OPERATORS)
    if random.random() < 0.3:
        del node.attribute[:]
    if random.random() < 0.2:
        node.domain = random.choice(("com.microsoft", "ai.onnx.ml", "x"))


def _attribute(model: Any, random: Random) -> None:
    nodes = [node for node in model.graph.node if node.attribute]
    attribute = random.choice(random.choice(nodes).attribute)
    if attribute.type == AttributeProto.INTS:
        place = random.randrange(len(attribute.ints) or 1)
        if attribute.ints and random.random() < 0.7:
            attribute.ints[place] = random.choice(NUMBERS)
        else:
            attribute.ints.extend(random.choices(NUMBERS, k=random.randint(1, 9)))
    elif attribute.type == AttributeProto.INT and random.random() < 0.8:
        attribute.i = random.choice(NUMBERS)
    elif random.random() < 0.5:
        attribute.type = random.randrange(15)
    else:
        attribute.name = random.choice(
            ("axis", "to", "perm", "x", "strides", "pads", "dilations", "auto_pad", "ceil_mode", "body")
        )


def _wiring(model: Any, random: Random) -> None:
    names = [name for node in model.graph.node for name in (*node.input, *node.output)] + [
        "",
        "x",
        "images",
        "features",
    ]
    node = random.choice(model.graph.node)
    change = random.randrange(4)
    if change == 0 and node.input:
        node.input[random.randrange(len(node.input))] = random.choice(names)
    elif change == 1:
        node.input.extend([random.choice(names)] * random.choice((1, 1, 2, 500)))
    elif change == 2 and node.input:
        del node.input[-1]
    else:
        node.output[random.randrange(len(node.output))] = random.choice(names)


def _initializer(model: Any, random: Random) -> None:
    tensor = random.choice(model.graph.initializer)
    change = random.randrange(7)
    if change == 0 and tensor.dims:
        tensor.dims[random.randrange(len(tensor.dims))] = random.choice(NUMBERS)
    elif change == 1:
        tensor.dims.extend([random.choice(NUMBERS)] * random.choice((1, 1, 2, 70)))
    elif change == 2:
        tensor.data_type = random.randrange(30)
    elif change == 3:
        tensor.raw_data = damaged(tensor.raw_data, random)
    elif change == 4:
        tensor.float_data.extend([1.0] * random.choice((1, 6, 1000)))
    elif change == 5:
        tensor.name = random.choice(("", "x", "images", "features", "linear", "weight"))
    else:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(
            key="location", value=random.choice(("x", "/etc/passwd", "../x", "model.onnx"))
        )


def _values(model: Any, random: Random) -> None:
    """Set one number of a random initializer to an extreme value."""
    tensor = random.choice(model.graph.initializer)
    array = numpy_helper.to_array(tensor).copy()
    if array.size:
        place = random.randrange(array.size)
        value: Any = (
            random.choice(NUMBERS)
            if array.dtype.kind in "iu"
            else random.choice((np.nan, np.inf, -1e38, 1e38, 0, 1e-45))
        )
        array.reshape(-1)[place] = np.array(value).astype(array.dtype)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _interface(model: Any, random: Random) -> None:
    value = random.choice([*model.graph.input, *model.graph.output])
    change = random.randrange(5)
    if change == 0:
        value.type.tensor_type.elem_type = random.randrange(25)
    elif change == 1 and value.type.tensor_type.shape.dim:
        dim = random.choice(value.type.tensor_type.shape.dim)
        dim.dim_value = random.choice(NUMBERS)
    elif change == 2:
        value.type.tensor_type.shape.dim.add(dim_value=random.choice(NUMBERS))
    elif change == 3:
        value.name = random.choice(("x", "", "images", "features", "\x1b[31m"))
    else:
        (model.graph.input if random.random() < 0.5 else model.graph.output).add().CopyFrom(value)


def _header(model: Any, random: Random) -> None:
    change = random.randrange(4)
    if change == 0:
        model.ir_version = random.choice((0, 1, 3, 10, 11, 99, 2**40))
    elif change == 1:
        model.opset_import[0].version = random.choice((0, 1, 6, 7, 11, 13, 19, 22, 24, 99, 2**40))
    elif change == 2:
        model.opset_import.add(
            domain=random.choice(("", "com.microsoft", "ai.onnx.ml", "x")), version=random.choice((1, 17, 99))
        )
    else:
        model.metadata_props.add(key="x", value="y" * random.choice((1, 100_000)))


def _nodes(model: Any, random: Random) -> None:
    place = random.randrange(len(model.graph.node))
    change = random.randrange(4)
    if change == 0:
        del model.graph.node[place]
    elif change == 1:
        model.graph.node.add().CopyFrom(model.graph.node[place])
    elif change == 2:
        nodes = list(model.graph.node)
        random.shuffle(nodes)
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)
    else:
        _subgraph(model, random)


def _subgraph(model: Any, random: Random) -> None:
    """Put a loop or a branch, which no exported file has, around the input of the last node."""
    last = model.graph.node[-1]
    value = helper.make_tensor_value_info
    count = numpy_helper.from_array(np.array(random.choice((0, 3, 2**62)), np.int64), "count")
    yes = numpy_helper.from_array(np.array(True), "yes")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["more"]),
            helper.make_node("Relu", ["carried"], ["next"]),
        ],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("condition", TensorProto.BOOL, []),
            value("carried", TensorProto.FLOAT, None),
        ],
        [value("more", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, None)],
    )
    if random.random() < 0.3:
        for _ in range(random.choice((2, 8, 20))):
            inner = helper.make_node("Loop", ["", "condition", "carried"], ["next"], body=body)
            body = helper.make_graph(
                [helper.make_node("Identity", ["condition"], ["more"]), inner],
                "body",
                body.input,
                body.output,
            )
            if len(body.SerializeToString()) > 200_000:
                break
    model.graph.initializer.extend([count, yes])
    node = helper.make_node("Loop", ["count", "yes", last.input[0]], ["looped"], body=body)
    kept = list(model.graph.node)
    copies = [onnx.NodeProto.FromString(one.SerializeToString()) for one in kept]
    copies[-1].input[0] = "looped"
    del model.graph.node[:]
    model.graph.node.extend([*copies[:-1], node, copies[-1]])


CHANGES = (
    _operator,
    _operator,
    _attribute,
    _attribute,
    _wiring,
    _initializer,
    _initializer,
    _values,
    _interface,
    _header,
    _nodes,
)
