"""INT8 graphs of convolutional networks: which form each target gets, and that ONNX Runtime computes them with integers."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.adopting.foreign import read_foreign
from export.adopting.graph import adopted_graph
from export.adopting.pixels import Pixels
from export.fp16.convert import type_conflicts
from export.int8.convolutions import tails
from export.int8.groups import groups
from export.int8.quantize import calibrate, with_qdq
from runtime.backends.onnxruntime import open_onnxruntime, session_options
from runtime.gate import unit
from runtime.spec import InputSpec
from tests.fakes import foreign as fake
from tests.fakes.rtx_build import build, needs_rtx

PIXELS, SPEC = Pixels("rgb", (0.5,) * 3, (0.5,) * 3), InputSpec(fake.HEIGHT, fake.WIDTH)
CROPS = fake.crops(32)


def residual(model):
    """A third convolution, without a bias and with a skip connection around it, before the pooling."""
    pool = next(index for index, node in enumerate(model.graph.node) if node.op_type == "AveragePool")
    kernel = np.random.default_rng(3).normal(size=(16, 16, 3, 3)).astype(np.float32) / 12
    model.graph.initializer.append(numpy_helper.from_array(kernel, "c3.w"))
    nodes = [
        helper.make_node("Conv", ["c2.relu", "c3.w"], ["c3.out"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2.relu", "c3.out"], ["sum"]),
    ]
    model.graph.node[pool].input[0] = "sum"
    rest = [*model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*rest[:pool], *nodes, *rest[pool:]])
    return model


@pytest.fixture(scope="module")
def fp32(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    onnx.save(residual(fake.model()), path)
    return adopted_graph(read_foreign(path), PIXELS, SPEC, dim=fake.DIM)[0]


@pytest.fixture(scope="module")
def ranges(fp32):
    return calibrate(fp32, [{"images": CROPS[at : at + 8]} for at in range(0, 32, 8)])


def session(graph, *, optimised=True, saved=None):
    options = session_options(threads=1)
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if saved:
        options.optimized_model_filepath = str(saved)
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def features(graph, **how):
    return session(graph, **how).run(["features"], {"images": CROPS})[0]


def operators(graph):
    return [node.op_type for node in graph.graph.node]


def test_every_layer_is_a_group_with_the_name_of_its_node(fp32):
    layers = {
        node.name: node.op_type for node in fp32.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")
    }
    assert groups(fp32) == {name: [name] for name in layers}
    assert sorted(layers.values()) == ["Conv", "Conv", "Conv", "Gemm"]


def test_a_cpu_computes_every_convolution_with_integers(fp32, ranges, tmp_path):
    graph = with_qdq(fp32, ranges, target="onnxruntime")
    onnx.checker.check_model(graph, full_check=True)
    optimised = features(graph, saved=tmp_path / "optimised.onnx")
    ran = operators(onnx.load(tmp_path / "optimised.onnx"))
    assert ran.count("QLinearConv") == 3 and "Conv" not in ran and "FusedConv" not in ran
    # without optimisation the nodes compute one after another in float what the integers stand for
    emulated = features(graph, optimised=False)
    assert np.abs(optimised - emulated).max() < 5e-3
    similar = (unit(optimised) * unit(features(fp32))).sum(axis=1)
    assert 0.98 < similar.min() < 0.99999


def test_biases_have_the_scale_of_the_products(fp32, ranges):
    graph = with_qdq(fp32, ranges, target="onnxruntime")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    producers = {name: node for node in graph.graph.node for name in node.output}
    plain = {node.name: node for node in fp32.graph.node}
    biases = {tensor.name: numpy_helper.to_array(tensor) for tensor in fp32.graph.initializer}
    checked = 0
    for node in graph.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3:
            scales = [values[producers[name].input[1]] for name in node.input]
            assert np.allclose(scales[2], scales[0] * scales[1], rtol=1e-6)
            stored = values[producers[node.input[2]].input[0]]
            assert stored.dtype == np.int32
            error = np.abs(stored * scales[2].astype(np.float64) - biases[plain[node.name].input[2]])
            assert (error <= 0.51 * scales[2]).all()
            checked += 1
    assert checked == 2


@pytest.mark.parametrize("target", ["onnxruntime", "tensorrt", "tensorrt8"])
def test_a_channel_without_weights_keeps_its_bias(target, tmp_path):
    """A batch norm that turned a channel off leaves weights of 0, or nearly so, and a bias that later layers use."""
    model = residual(fake.model())
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name in ("c1.w", "c2.w"):
            values[0], values[1] = 0, values[1] * 1e-10
        if tensor.name in ("c1.b", "c2.b"):
            values[:2] = 2
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "m.onnx")
    plain = adopted_graph(read_foreign(tmp_path / "m.onnx"), PIXELS, SPEC, dim=fake.DIM)[0]
    feeds = [{"images": CROPS}]
    onnx.save(with_qdq(plain, calibrate(plain, feeds), target=target), tmp_path / "int8.onnx")
    ours = open_onnxruntime(tmp_path / "int8.onnx", SPEC)(CROPS)
    assert (unit(ours) * unit(features(plain))).sum(axis=1).min() > 0.995


@pytest.mark.parametrize("target", ["onnxruntime", "tensorrt", "tensorrt8"])
def test_convolutions_may_share_their_weights(target, tmp_path):
    """The gate of OSNet is one network for several streams."""
    model = residual(fake.model())
    nodes = list(model.graph.node)
    at = next(index for index, node in enumerate(nodes) if list(node.output) == ["c2.out"])
    others = []
    for operator in ("Sigmoid", "Tanh"):
        others.append(helper.make_node(operator, ["c1.relu"], [operator]))
        again = onnx.NodeProto.FromString(nodes[at].SerializeToString())
        again.input[0], again.output[0] = operator, f"c2.{operator}"
        others.append(again)
    others.append(helper.make_node("Sum", ["c2.out", "c2.Sigmoid", "c2.Tanh"], ["sums"]))
    nodes[at + 1].input[0] = "sums"
    del model.graph.node[:]
    model.graph.node.extend([*nodes[: at + 1], *others, *nodes[at + 1 :]])
    onnx.save(model, tmp_path / "m.onnx")
    plain = adopted_graph(read_foreign(tmp_path / "m.onnx"), PIXELS, SPEC, dim=fake.DIM)[0]
    graph = with_qdq(plain, calibrate(plain, [{"images": CROPS}]), target=target)
    onnx.save(graph, tmp_path / "int8.onnx")
    ours = open_onnxruntime(tmp_path / "int8.onnx", SPEC)(CROPS)
    assert (unit(ours) * unit(features(plain))).sum(axis=1).min() > 0.99


def test_a_bias_that_is_computed_stays_float(tmp_path):
    model = fake.model()
    mean = helper.make_node("ReduceMean", ["input.1"], ["mean"], axes=[0, 1, 2, 3], keepdims=0)
    model.graph.node.insert(0, mean)
    model.graph.node.insert(1, helper.make_node("Add", ["mean", "c1.b"], ["moved"]))
    next(node for node in model.graph.node if node.op_type == "Conv").input[2] = "moved"
    onnx.save(model, tmp_path / "m.onnx")
    batch = dataclasses.replace(SPEC, batch=1)
    plain = adopted_graph(read_foreign(tmp_path / "m.onnx"), PIXELS, batch, dim=fake.DIM)[0]
    ranges = calibrate(plain, [{"images": crop[None]} for crop in CROPS])
    graph = with_qdq(plain, ranges, target="onnxruntime")
    onnx.checker.check_model(graph, full_check=True)
    first = next(node for node in graph.graph.node if node.op_type == "Conv")
    producers = {name: node.op_type for node in graph.graph.node for name in node.output}
    assert producers[first.input[2]] == "Add"


@pytest.mark.parametrize("kept", range(4))
def test_a_layer_that_is_kept_has_no_rounded_weights(kept, fp32, ranges):
    name = list(groups(fp32))[kept]
    graph = with_qdq(fp32, ranges, target="onnxruntime", skip=[name])
    onnx.checker.check_model(graph, full_check=True)
    node = next(node for node in graph.graph.node if node.name == name)
    floats = {tensor.name for tensor in graph.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    assert node.input[1] in floats
    assert np.abs(features(graph) - features(graph, optimised=False)).max() < 5e-3


def test_with_every_layer_kept_the_features_are_those_of_fp32(fp32, ranges):
    graph = with_qdq(fp32, ranges, target="onnxruntime", skip=list(groups(fp32)))
    assert operators(graph) == operators(fp32) and np.array_equal(features(graph), features(fp32))


def test_the_tensor_behind_a_convolution_is_behind_its_relu(fp32):
    after = tails(fp32, groups(fp32))
    kinds = {name: node.op_type for node in fp32.graph.node for name in node.output}
    assert sorted(kinds[tensor] for tensor in after.values()) == ["Conv", "Relu", "Relu"]
    assert tails(fp32, []) == {}


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt8"])
def test_tensorrt_gets_rounded_inputs_and_weights_only(target, fp32, ranges):
    graph = with_qdq(fp32, ranges, target=target)
    onnx.checker.check_model(graph, full_check=True)
    producers = {name: node.op_type for node in graph.graph.node for name in node.output}
    for node in graph.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert [producers.get(name) for name in node.input[:2]] == ["DequantizeLinear"] * 2
            assert all(producers.get(name) != "DequantizeLinear" for name in node.input[2:])
    # the first convolution's input, that of the second, that of the third with its skip, and the flat map
    activations = {node.input[0] for node in graph.graph.node if node.op_type == "QuantizeLinear"}
    weights = {tensor.name for tensor in graph.graph.initializer}
    assert len(activations - weights) == 4
    if target == "tensorrt":
        assert not type_conflicts(graph)


@needs_rtx
def test_a_builder_of_tensorrt_takes_the_graph(fp32, ranges, tmp_path):
    _, size = build(with_qdq(fp32, ranges, target="tensorrt"), tmp_path / "m.onnx")
    assert size > 0
