"""The export's own graph changes, on graphs written by hand."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from export.graph import fusible_gelu


@pytest.mark.parametrize("half_first", [True, False])
@pytest.mark.parametrize("x_first", [True, False])
def test_gelu_is_written_as_onnxruntime_fuses_it_and_computes_the_same(half_first, x_first, tmp_path):
    def ordered(a, b, swap):
        return [a, b] if swap else [b, a]

    nodes = [
        helper.make_node("Div", ["x", "root"], ["scaled"]),
        helper.make_node("Erf", ["scaled"], ["erf"]),
        helper.make_node("Add", ["erf", "one"], ["plus"]),
        helper.make_node("Mul", ordered("half", "plus", half_first), ["weight"]),
        helper.make_node("Mul", ordered("x", "weight", x_first), ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.float32(value), name)
        for name, value in (("root", 2**0.5), ("one", 1), ("half", 0.5))
    ]
    sides = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [64]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "gelu", sides[:1], sides[1:], constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(fusible_gelu(model), full_check=True)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.linspace(-5, 5, 64, dtype=np.float32)
    expected = [value * 0.5 * (1 + math.erf(value / 2**0.5)) for value in x.tolist()]
    assert np.allclose(session.run(None, {"x": x})[0], expected, atol=1e-6)
    assert [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node] == ["Gelu"]
