"""A small but real ONNX model with its manifest, for tests that do not depend on the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.files.manifest import write_manifest
from runtime.spec import InputSpec

DIM = 6
SPEC = InputSpec(height=32, width=16)


def graph(spec: InputSpec, *, dim: int = DIM, nan: bool = False, camera_type: int = TensorProto.INT64) -> Any:
    """Return an ONNX graph: the mean colours of 8 x 8 blocks, a linear layer, the camera embedding if any, and an L2 norm.

    With `nan`, one weight is NaN.
    """
    random = np.random.default_rng(0)
    rows, columns = spec.height // 8, spec.width // 8
    weight = random.normal(size=(3 * rows * columns, dim)).astype(np.float32)
    if nan:
        weight[0, 0] = np.nan
    table = random.normal(size=(spec.cameras + 2, dim)).astype(np.float32) * 20
    images = (spec.height, spec.width, 3) if spec.layout == "uint8-nhwc" else (3, spec.height, spec.width)
    kind = TensorProto.UINT8 if spec.layout == "uint8-nhwc" else TensorProto.FLOAT
    batch = spec.batch or "batch"
    inputs = [helper.make_tensor_value_info("images", kind, [batch, *images])]
    nodes = [helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT)]
    constants = {"weight": weight}
    last = "float"
    if spec.layout == "uint8-nhwc":
        nodes.append(helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]))
        last = "nchw"
    nodes += [
        helper.make_node("AveragePool", [last], ["blocks"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["blocks"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["linear"]),
    ]
    last = "linear"
    if spec.camera == "input":
        inputs.append(helper.make_tensor_value_info("camera_ids", camera_type, [batch]))
        constants["table"] = table
        nodes.append(helper.make_node("Gather", ["table", "camera_ids"], ["row"]))
        nodes.append(helper.make_node("Add", ["linear", "row"], ["seen"]))
        last = "seen"
    nodes.append(helper.make_node("LpNormalization", [last], ["features"], axis=1, p=2))
    output = helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, dim])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    built = helper.make_graph(nodes, "tiny", inputs, [output], initializers)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_model(
    path: Path, spec: InputSpec = SPEC, *, manifest: dict[str, Any] | None = None, **options: Any
) -> Path:
    """Write the model and a manifest that passes every check, with the fields in `manifest` replaced."""
    onnx.save(graph(spec, **options), path)
    content = {
        "kind": "onnx",
        "parent": "0" * 64,
        "precision": "fp32",
        "input": spec.to_json(),
        "output": {"dim": options.get("dim", DIM), "normalised": True},
        "gate": {"passed": True},
    }
    write_manifest(path, content | (manifest or {}))
    return path
