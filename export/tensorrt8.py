"""What TensorRT 8.6 takes: opset 17, IR version 8, 32-bit camera ids. Changes no number."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from export.fp16.convert import cast_first
from runtime.errors import ArtifactError

OPSET, IR_VERSION = 17, 8
# Reductions take their axes as an input from opset 18 on, as an attribute before.
REDUCTIONS = {"ReduceL2", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceProd"}


def for_tensorrt8(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The FP32 model, of opset 17 to 19, in opset 17, with int32 `camera_ids`, and uint8 images cast before anything else.

    ArtifactError for what opset 17 cannot say.
    """
    result = cast_first(graph)
    result.ir_version = IR_VERSION
    for opset in result.opset_import:
        if opset.domain == "":
            if not OPSET <= opset.version <= 19:
                raise ArtifactError(f"cannot rewrite opset {opset.version} for TensorRT 8; export it again")
            opset.version = OPSET
    for value in result.graph.input:
        if value.name == "camera_ids":
            value.type.tensor_type.elem_type = TensorProto.INT32
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    for node in result.graph.node:
        if node.op_type in REDUCTIONS and len(node.input) > 1:
            axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
            del node.input[1:]
            _without(node, "noop_with_empty_axes")
            node.attribute.append(helper.make_attribute("axes", axes))
        elif node.op_type == "Split":
            # equal parts, as many as there are outputs, is what opset 17 does without it
            _without(node, "num_outputs")
        elif node.op_type == "Pad" and len(node.input) > 3 and node.input[3]:
            raise ArtifactError(f"Pad {node.name} names its axes, which opset 17 cannot; export it again")
    used = {name for node in result.graph.node for name in node.input}
    left = [tensor for tensor in result.graph.initializer if tensor.name in used]
    result.graph.ClearField("initializer")
    result.graph.initializer.extend(left)
    return result


def _without(node: onnx.NodeProto, attribute: str) -> None:
    kept = [one for one in node.attribute if one.name != attribute]
    node.ClearField("attribute")
    node.attribute.extend(kept)
