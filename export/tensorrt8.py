"""Rewrite a graph for TensorRT 8.6: opset 17, IR version 8 and 32-bit camera ids. The features do not change."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from export.fp16.convert import cast_first
from runtime.errors import ArtifactError

OPSET, IR_VERSION = 17, 8
# Reductions have their axes as an input from opset 18 on, and as an attribute before.
REDUCTIONS = {"ReduceL2", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceProd"}


def for_tensorrt8(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the FP32 model `graph` in opset 17, with int32 `camera_ids`.

    Images in uint8 are cast to float before any other operation. Raises ArtifactError if `graph` has an opset other than 17 to 19 or
    contains something that opset 17 cannot express.
    """
    result = cast_first(graph)
    result.ir_version = IR_VERSION
    for opset in result.opset_import:
        if opset.domain == "":
            if not OPSET <= opset.version <= 19:
                raise ArtifactError(
                    f"a graph of opset {opset.version} cannot be rewritten for TensorRT 8.6 (opset 17); give --target tensorrt"
                )
            opset.version = OPSET
    for value in result.graph.input:
        if value.name == "camera_ids":
            value.type.tensor_type.elem_type = TensorProto.INT32
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    for node in result.graph.node:
        if node.op_type in REDUCTIONS and len(node.input) > 1:
            axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
            del node.input[1:]
            _remove_attribute(node, "noop_with_empty_axes")
            node.attribute.append(helper.make_attribute("axes", axes))
        elif node.op_type == "Split":
            # Without this attribute, opset 17 splits into as many equal parts as there are outputs.
            _remove_attribute(node, "num_outputs")
        elif node.op_type == "Pad" and len(node.input) > 3 and node.input[3]:
            raise ArtifactError(
                f"node {node.name}: its Pad uses the input `axes`, which opset 17, the format of --target tensorrt8, lacks; export "
                "with --target tensorrt, for TensorRT 10 and 11"
            )
    used_names = {name for node in result.graph.node for name in node.input}
    used = [tensor for tensor in result.graph.initializer if tensor.name in used_names]
    result.graph.ClearField("initializer")
    result.graph.initializer.extend(used)
    return result


def _remove_attribute(node: onnx.NodeProto, name: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    node.ClearField("attribute")
    node.attribute.extend(kept)
