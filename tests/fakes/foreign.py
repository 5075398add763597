"""A small convolutional network in the ONNX dialects of other projects, and its features computed by torch from the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

HEIGHT, WIDTH, DIM = 32, 16, 12
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}
# (precision, target) of every file that is made from the FP32 one.
CONVERSIONS = (
    ("fp16", "tensorrt"),
    ("int8", "onnxruntime"),
    ("int8", "tensorrt"),
    ("int8", "tensorrt8"),
    ("fp32", "tensorrt8"),
)


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Return the weights and biases of two convolutions and a fully connected layer."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 4)).astype(
            np.float32
        )

    return {
        "c1.w": normal(8, 3, 3, 3),
        "c1.b": normal(8),
        "c2.w": normal(16, 8, 3, 3),
        "c2.b": normal(16),
        "fc.w": normal(DIM, 16 * 4 * 2),
        "fc.b": normal(DIM),
    }


def crops(count: int = 12, seed: int = 0) -> np.ndarray:
    """Return smooth random crops (count, HEIGHT, WIDTH, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 4, 3))
    return np.repeat(np.repeat(coarse, HEIGHT // 8, axis=1), WIDTH // 4, axis=2).astype(np.uint8)


def features(images: np.ndarray, *, color: str, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Return the L2-normalised features (N, DIM) that torch computes in float64 from crops (N, H, W, 3) uint8 RGB."""
    tensors = {name: torch.from_numpy(value).double() for name, value in weights().items()}
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    x = (x - torch.tensor(mean).double().view(1, 3, 1, 1)) / torch.tensor(std).double().view(1, 3, 1, 1)
    x = x.flip(1) if color == "bgr" else x
    x = F.relu(F.conv2d(x, tensors["c1.w"], tensors["c1.b"], stride=2, padding=1))
    x = F.relu(F.conv2d(x, tensors["c2.w"], tensors["c2.b"], stride=2, padding=1))
    x = F.avg_pool2d(x, 2).flatten(1)
    return F.normalize(F.linear(x, tensors["fc.w"], tensors["fc.b"])).numpy()


def model(
    *,
    layout: str = "nchw",
    kind: str = "float32",
    batch: int | None = None,
    size: bool = True,
    opset: int = 13,
    name: str = "input.1",
    ending: str = "plain",
    listed: bool = False,
) -> onnx.ModelProto:
    """Return the network as an ONNX model.

    `layout` and `kind` are those of the input `name`, and `batch` its fixed batch (None: any). Without `size`, height and width are
    dynamic. With `listed`, the weights stand among the inputs too. `ending` is "plain", "map" (an output (N, DIM, 1, 1)), "unit" (an
    L2-normalised output), "two" (a second output), "token" (a constant joined with the features, as exported for one image) or
    "mixed" (every image changes the features of the others).
    """
    half = np.float16 if kind == "float16" else np.float32
    first: Any = batch or "N"
    height, width = (HEIGHT, WIDTH) if size else ("h", "w")
    shape = [first, 3, height, width] if layout == "nchw" else [first, height, width, 3]
    nodes, last = [], name

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    if kind == "uint8":
        last = add("Cast", [last], "float", to=TensorProto.FLOAT)
        last = add("Div", [last, "255"], "scaled")
    if layout == "nhwc":
        last = add("Transpose", [last], "channels_first", perm=[0, 3, 1, 2])
    for layer in ("c1", "c2"):
        strided = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        last = add("Conv", [last, f"{layer}.w", f"{layer}.b"], f"{layer}.out", **strided)
        last = add("Relu", [last], f"{layer}.relu")
    last = add("AveragePool", [last], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    constants = {key: value.astype(half) for key, value in weights().items()}
    constants |= {"255": np.array(255, half), "flat_shape": np.array([batch or -1, 16 * 4 * 2], np.int64)}
    last = add("Reshape", [last, "flat_shape"], "flat")
    last = add("Gemm", [last, "fc.w", "fc.b"], "features" if ending == "plain" else "linear", transB=1)
    outputs = [("features", [first, DIM])]
    if ending == "map":
        constants["map_shape"] = np.array([0, DIM, 1, 1], np.int64)
        last = add("Reshape", [last, "map_shape"], "features")
        outputs = [("features", [first, DIM, 1, 1])]
    elif ending == "unit":
        last = add("LpNormalization", [last], "features", axis=1, p=2)
    elif ending == "two":
        last = add("Identity", [last], "embedding")
        add("Softmax", [last], "scores", axis=1)
        outputs = [("embedding", [first, DIM]), ("scores", [first, DIM])]
    elif ending == "token":
        constants["token"] = np.zeros((1, 1), half)
        last = add("Concat", [last, "token"], "features", axis=1)
        outputs = [("features", [first, DIM + 1])]
    elif ending == "mixed":
        most = add("ReduceMax", [last], "most", axes=[0], keepdims=1)
        last = add("Add", [last, most], "features")
    used = {key for node in nodes for key in node.input}
    tensors = [numpy_helper.from_array(value, key) for key, value in constants.items() if key in used]
    inputs = [helper.make_tensor_value_info(name, TYPES[kind], shape)]
    if listed:
        inputs += [
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in tensors
        ]
    kinds = TensorProto.FLOAT16 if kind == "float16" else TensorProto.FLOAT
    results = [helper.make_tensor_value_info(key, kinds, sizes) for key, sizes in outputs]
    graph = helper.make_graph(nodes, "foreign", inputs, results, tensors)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if listed else 7
    )


def write(path: Path, **options: Any) -> Path:
    """Write `model(**options)` to `path`, and return it."""
    onnx.save(model(**options), path)
    return path
