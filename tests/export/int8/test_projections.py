"""Separate projections: the same function, in a form that only changes where it should."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from export.forms import Folded
from export.graph import fusible_gelu, named_batch, prove_static, simplified, to_onnx
from export.int8.groups import groups
from export.int8.projections import split_projections
from tests.fakes import lite


def graph(*, bias=True, sizes=None, axis=2, columns=6, again=False):
    """x (B, N, 4) times a (4, columns) weight, plus a bias, split in three: p, q, r."""
    random = np.random.default_rng(0)
    constants = {"w": random.standard_normal((4, columns)), "b": random.standard_normal(columns)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["joint" if bias else "sum"], name="qkv")]
    if bias:
        nodes.append(helper.make_node("Add", ["b", "joint"], ["sum"], name="offset"))
    inputs = ["sum"] + ([] if sizes is None else ["sizes"])
    extra = {"num_outputs": 3} if sizes is None else {}
    nodes.append(helper.make_node("Split", inputs, ["p", "q", "r"], name="cut", axis=axis, **extra))
    names = ["p", "q", "r"]
    if again:
        nodes.append(helper.make_node("Neg", ["sum"], ["negative"], name="reader"))
        names.append("negative")
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    if sizes is not None:
        tensors.append(numpy_helper.from_array(np.array(sizes), "sizes"))
    return helper.make_model(
        helper.make_graph(
            nodes,
            "joint",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3, 4])],
            [
                helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", None, None])
                for name in names
            ],
            [tensor for tensor in tensors if bias or tensor.name != "b"],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


def run(model, feed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, feed)


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [None, [2, 2, 2]])
@pytest.mark.parametrize("axis", [2, -1])
def test_three_products_compute_what_one_did(bias, sizes, axis):
    model = graph(bias=bias, sizes=sizes, axis=axis)
    cut = split_projections(model)
    onnx.checker.check_model(cut, full_check=True)
    assert operators(cut) == ({"MatMul": 3, "Add": 3} if bias else {"MatMul": 3})
    feed = {"x": np.random.default_rng(1).standard_normal((5, 3, 4)).astype(np.float32)}
    for joint_output, split_output in zip(run(model, feed), run(cut, feed), strict=True):
        np.testing.assert_allclose(split_output, joint_output, rtol=1e-6, atol=1e-7)
    # only the thirds are left of the constants
    assert sum(np.prod(tensor.dims) for tensor in cut.graph.initializer) == 24 + 6 * bias


@pytest.mark.parametrize(
    "kept", [{"sizes": [1, 2, 3]}, {"axis": 1}, {"again": True}, {"columns": 7, "sizes": [3, 3, 1]}]
)
def test_what_is_no_even_cut_of_a_product_stays(kept):
    model = graph(**kept)
    assert split_projections(model) == model


@pytest.mark.parametrize("mode", ["bypass", "kv"])
def test_a_whole_model_keeps_its_features_and_its_groups(mode):
    network = lite.shallow(lite.pruned(mode=mode))
    exported = named_batch(fusible_gelu(simplified(to_onnx(Folded(network, lite.SPEC), lite.SPEC))))
    before = exported.SerializeToString()
    cut = split_projections(exported)
    assert exported.SerializeToString() == before
    prove_static(cut)
    images, _, cameras = lite.batch(3)
    feed = {"images": images.numpy(), "camera_ids": cameras.clamp(max=2).numpy()}
    for joint_output, split_output in zip(run(exported, feed), run(cut, feed), strict=True):
        np.testing.assert_allclose(split_output, joint_output, rtol=1e-4, atol=1e-6)
    old, new = groups(exported), groups(cut)
    assert list(new) == list(old)
    # with kv the queries come from other tokens than keys and values: they are apart already
    more = [f"block{index}.qkv" for index in range(2)] if mode == "bypass" else []
    assert {name: len(new[name]) for name in new if len(new[name]) != len(old[name])} == dict.fromkeys(
        more, 3
    )
