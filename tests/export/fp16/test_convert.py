"""Typed FP16 graphs: what is FP16, what stays FP32, no needless cast, and a real strongly typed parser and builder accept them."""

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.exporting import build_graph
from export.fp16.convert import (
    always_fp32,
    cast_first,
    element_types,
    mask_names,
    node_name,
    to_fp16,
    type_conflicts,
)
from export.fp16.lint import emulate_fp16
from runtime.errors import ArtifactError, ConfigError
from runtime.gate import LIMITS, compare, failures
from tests.fakes import lite, tiny_model
from tests.fakes.rtx_build import build, needs_rtx

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def crops(count=24):
    """Smooth random pictures: neighbouring pixels are alike, as in photographs."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 8, 4, 3))
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2).astype(np.uint8)


def feeds(spec=None):
    images = crops()
    if spec is not None and spec.layout == "float-nchw":
        images = (images.transpose(0, 3, 1, 2) / np.float32(127.5) - 1).astype(np.float32)
    cameras = (np.arange(len(images)) % 5).astype(np.int64)
    fed = [{"images": images[at : at + 8], "camera_ids": cameras[at : at + 8]} for at in range(0, 24, 8)]
    return fed if spec is None or spec.camera == "input" else [{"images": feed["images"]} for feed in fed]


def run(graph, fed):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(["features"], feed)[0] for feed in fed])


def spec_of(layout="uint8-nhwc", camera="input"):
    return dataclasses.replace(lite.SPEC, layout=layout, camera=camera)


@pytest.fixture(scope="module")
def fp32():
    return build_graph(lite.pruned(), spec_of(), "folded")[0]


@pytest.fixture(scope="module")
def fp16(fp32):
    return to_fp16(fp32)


def casts(graph):
    return [node for node in graph.graph.node if node.op_type == "Cast"]


def test_the_gate_passes(fp32, fp16):
    check(fp32, fp16, spec_of())


@pytest.mark.parametrize(
    ("form", "layout", "needed"), [("reference", "uint8-nhwc", 3), ("folded", "float-nchw", 2)]
)
def test_other_forms_become_clean_fp16_too(form, layout, needed):
    """One cast into FP16 (of the pixels as they are, where only a cast is in front) and one out of it."""
    spec = spec_of(layout, "mean")
    graph = build_graph(lite.shallow(lite.pruned(mode="kv", neck="after")), spec, form)[0]
    half = to_fp16(graph)
    assert len(casts(half)) == needed
    check(graph, half, spec)


def check(graph, half, spec):
    onnx.checker.check_model(half, full_check=True)
    assert type_conflicts(half) == []
    reference = run(graph, feeds(spec))
    for candidate in (half, emulate_fp16(half)):
        numbers = compare(reference, run(candidate, feeds(spec)))
        assert failures(numbers, LIMITS["fp16"]) == [] and numbers["cosine_min"] > 0.99995


def test_inputs_and_outputs_are_what_they_were(fp32, fp16):
    for before, after in ((fp32.graph.input, fp16.graph.input), (fp32.graph.output, fp16.graph.output)):
        assert list(before) == list(after)
    assert (fp32.ir_version, list(fp32.opset_import)) == (fp16.ir_version, list(fp16.opset_import))


def test_everything_between_is_fp16(fp32, fp16):
    types = element_types(fp16)
    fp32_tensors = {
        name for node in fp16.graph.node if node_name(node) in always_fp32(fp32) for name in node.output
    }
    fp32_tensors |= {casts(fp16)[-1].output[0]}
    floats = {name for name, kind in types.items() if kind == FLOAT}
    constants = {tensor.name: tensor for tensor in fp16.graph.initializer}
    # the guard of the L2-normalisation is the only FP32 number left
    assert [constants[name].dims for name in floats & set(constants)] == [[]]
    assert floats - set(constants) == fp32_tensors
    assert [node.op_type for node in fp16.graph.node if set(node.output) & fp32_tensors] == [
        "Cast",
        "ReduceL2",
        "Clip",
        "Div",
    ]
    assert fp16.ByteSize() < 0.55 * fp32.ByteSize()
    norms = [node for node in fp16.graph.node if node.op_type == "LayerNormalization"]
    assert norms and all(types[name] == HALF for node in norms for name in [*node.input, *node.output])


def test_the_same_graph_gives_the_same_bytes_and_is_left_alone(fp32):
    before = fp32.SerializeToString()
    assert to_fp16(fp32).SerializeToString() == to_fp16(fp32).SerializeToString()
    assert fp32.SerializeToString() == before


def test_kept_nodes_are_fp32_and_a_kept_chain_has_no_cast_inside(fp32):
    chain = [node_name(node) for node in fp32.graph.node if node.op_type in ("Erf", "Div")][:2]
    first = next(index for index, node in enumerate(fp32.graph.node) if node_name(node) == chain[0])
    assert fp32.graph.node[first].output[0] in fp32.graph.node[first + 1].input
    half = to_fp16(fp32, keep_fp32=chain)
    types = element_types(half)
    nodes = {node_name(node): node for node in half.graph.node}
    for name in chain:
        assert {types[tensor] for tensor in [*nodes[name].input, *nodes[name].output]} == {FLOAT}
    assert nodes[chain[0]].output[0] in nodes[chain[1]].input
    assert len(casts(half)) == len(casts(to_fp16(fp32))) + 2
    assert type_conflicts(half) == []


def test_keeping_everything_is_the_fp32_graph(fp32):
    kept = to_fp16(fp32, keep_fp32=[node_name(node) for node in fp32.graph.node])
    assert len(casts(kept)) == len(casts(fp32))
    # only the mask differs, which ends at -1e4 in either precision
    np.testing.assert_allclose(run(kept, feeds()), run(fp32, feeds()), atol=1e-6)


def test_an_unknown_node_name_is_refused(fp32):
    with pytest.raises(ConfigError, match="cannot be kept in FP32"):
        to_fp16(fp32, keep_fp32=["node_of_another_model"])


def with_constant(graph, name, change):
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    tensor = next(tensor for tensor in changed.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    return changed


def largest_weight(graph):
    """(name of a MatMul's weight, the MatMul's name)."""
    constants = {tensor.name for tensor in graph.graph.initializer}
    node = next(node for node in graph.graph.node if node.op_type == "MatMul" and node.input[1] in constants)
    return node.input[1], node_name(node)


@pytest.mark.parametrize(("value", "words"), [(7e4, "reaches 7e\\+04"), (np.inf, "inf"), (np.nan, "nan")])
def test_a_weight_that_fp16_cannot_hold_is_refused_by_name_unless_its_node_is_kept(value, words, fp32):
    name, node = largest_weight(fp32)

    def poison(weights):
        weights[0, 0] = value
        return weights

    poisoned = with_constant(fp32, name, poison)
    with pytest.raises(ArtifactError, match=f"{name}.*{node}.*{words}"):
        to_fp16(poisoned)
    kept = to_fp16(poisoned, keep_fp32=[node])
    assert {tensor.name: tensor.data_type for tensor in kept.graph.initializer}[name] == FLOAT


def test_a_guard_that_becomes_0_is_refused():
    """x / max(|x|, 1e-12) with the maximum in FP16 divides by 0."""
    guard = numpy_helper.from_array(np.array(1e-12, np.float32), "guard")
    nodes = [helper.make_node("Max", ["x", "guard"], ["y"], name="most")]
    with pytest.raises(ArtifactError, match="guard of Max most is 1e-12"):
        to_fp16(small_model(nodes, [guard]))


def small_model(nodes, constants=(), output=FLOAT):
    values = [helper.make_tensor_value_info(name, FLOAT, [2, 4]) for name in "xy"]
    values[1].type.tensor_type.elem_type = output
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("lowest", [-np.inf, np.finfo(np.float32).min, -30000.0])
def test_masks_end_within_fp16_and_mean_the_same(lowest, fp32):
    (name,) = mask_names(fp32)
    masked = with_constant(fp32, name, lambda mask: np.where(mask < -1, np.float32(lowest), mask))
    half = to_fp16(masked)
    mask = next(numpy_helper.to_array(tensor) for tensor in half.graph.initializer if tensor.name == name)
    assert mask.dtype == np.float16 and mask.min() == -1e4 and (mask > -1).any()
    assert np.abs(run(half, feeds()) - run(masked, feeds())).max() < 1e-3


def test_a_constant_of_both_precisions_is_stored_in_both():
    """One weight, an FP32 user and an FP16 user, and an output that an FP16 node gives."""
    weight = numpy_helper.from_array(np.full((2, 4), 0.1, np.float32), "weight")
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Add", ["t", "weight"], ["a"]),
        helper.make_node("Mul", ["a", "weight"], ["b"], name="kept"),
        helper.make_node("Tanh", ["b"], ["y"]),
    ]
    model = small_model(nodes, [weight])
    half = to_fp16(model, keep_fp32=["kept"])
    assert sorted(tensor.data_type for tensor in half.graph.initializer) == [FLOAT, HALF]
    assert type_conflicts(half) == []
    onnx.checker.check_model(half, full_check=True)
    operators = [node.op_type for node in half.graph.node]
    assert operators == ["Cast", "Tanh", "Add", "Cast", "Mul", "Cast", "Tanh", "Cast"]


def test_uint8_goes_into_nothing_but_a_cast(fp32):
    """TensorRT's rule; the exporter transposes first."""
    assert [node.op_type for node in fp32.graph.node if "images" in node.input] == ["Transpose"]
    moved = cast_first(fp32)
    assert [node.op_type for node in moved.graph.node if "images" in node.input] == ["Cast"]
    onnx.checker.check_model(moved, full_check=True)
    np.testing.assert_allclose(run(moved, feeds()), run(fp32, feeds()), atol=1e-6)


def test_quantised_layers_get_fp16_scales():
    """Q/DQ from opset 19: scales follow the float type, integers stay."""
    scale = numpy_helper.from_array(np.array(0.05, np.float32), "scale")
    zero = numpy_helper.from_array(np.array(0, np.int8), "zero")
    weight = numpy_helper.from_array(np.full((4, 4), 3, np.int8), "weight")
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("QuantizeLinear", ["t", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    model = small_model(nodes, [scale, zero, weight])
    model.opset_import[0].version = 19
    half = to_fp16(model)
    onnx.checker.check_model(half, full_check=True)
    types = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert types == {"scale": HALF, "zero": TensorProto.INT8, "weight": TensorProto.INT8}


def mixed_add(graph):
    graph.graph.node.insert(0, helper.make_node("Cast", ["x"], ["h"], to=HALF, name="down"))
    return "Add a mixes x float, h float16"


def mixed_norm(graph):
    graph.graph.node[0].CopyFrom(helper.make_node("Cast", ["x"], ["h"], to=HALF, name="down"))
    graph.graph.node.append(helper.make_node("LayerNormalization", ["h", "scale"], ["n"], name="norm"))
    graph.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "scale"))
    graph.graph.node.append(helper.make_node("Cast", ["n"], ["y"], to=FLOAT, name="up"))
    return "LayerNormalization norm mixes h float16, scale float"


def mixed_pow(graph):
    """ONNX itself lets Pow mix types."""
    graph.graph.node[0].CopyFrom(helper.make_node("Pow", ["x", "two"], ["y"], name="square"))
    graph.graph.initializer.append(numpy_helper.from_array(np.array(2, np.float16), "two"))
    return "Pow square mixes x float, two float16"


def wrong_output(graph):
    graph.graph.node[0].CopyFrom(helper.make_node("Cast", ["x"], ["y"], to=HALF, name="down"))
    return "output y is float16, not float"


def unknown_tensor(graph):
    graph.graph.node[0].input[1] = "nowhere"
    return "Add a: nowhere has no type"


@pytest.mark.parametrize("plant", [mixed_add, mixed_norm, mixed_pow, wrong_output, unknown_tensor])
def test_each_planted_type_conflict_is_found(plant):
    graph = small_model([helper.make_node("Add", ["x", "x"], ["y"], name="a")])
    assert type_conflicts(graph) == []
    if plant is mixed_add:
        graph.graph.node[0].input[1] = "h"
    expected = plant(graph)
    assert any(line.startswith(expected) for line in type_conflicts(graph)), type_conflicts(graph)


def test_the_scales_of_a_resize_stay_float():
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=FLOAT),
        helper.make_node("Resize", ["pixels", "", "scales"], ["large"], mode="linear"),
        helper.make_node("ReduceMean", ["large", "axes"], ["features"], keepdims=0),
    ]
    constants = {"scales": np.array([1, 2, 2, 1], np.float32), "axes": np.array([1, 3], np.int64)}
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 64, 32, 3])
    features = helper.make_tensor_value_info("features", FLOAT, ["batch", 64])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    parts = helper.make_graph(nodes, "resized", [images], [features], tensors)
    graph = helper.make_model(parts, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    half = to_fp16(graph)
    onnx.checker.check_model(half, full_check=True)
    assert type_conflicts(half) == []
    kinds = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert kinds["scales"] == FLOAT and element_types(half)["large"] == HALF


def test_a_model_without_node_names_is_converted_too():
    graph = tiny_model.graph(tiny_model.SPEC)
    assert {node.name for node in graph.graph.node} == {""}
    half = to_fp16(graph, keep_fp32=["linear"])
    assert type_conflicts(half) == []
    random = np.random.default_rng(0)
    fed = [{"images": random.integers(0, 256, (8, 32, 16, 3), dtype=np.uint8)}]
    assert failures(compare(run(graph, fed), run(half, fed)), LIMITS["fp16"]) == []


@needs_rtx
def test_a_strongly_typed_builder_takes_it_and_fuses_its_attention(fp32, fp16, tmp_path):
    fused, size = build(fp16, tmp_path / "fp16.onnx")
    unfused, full = build(cast_first(fp32), tmp_path / "fp32.onnx")
    assert fused >= 10 > unfused and size < 0.7 * full


@needs_rtx
def test_the_builder_takes_a_graph_with_kept_nodes_and_refuses_a_mixed_one(fp32, tmp_path):
    half = to_fp16(fp32, keep_fp32=[node_name(node) for node in fp32.graph.node if node.op_type == "Erf"])
    assert build(half, tmp_path / "kept.onnx")[1] > 0
    norm = next(node for node in half.graph.node if node.op_type == "LayerNormalization")
    scale = next(tensor for tensor in half.graph.initializer if tensor.name == norm.input[1])
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale).astype(np.float32), scale.name))
    assert type_conflicts(half)
    with pytest.raises(AssertionError, match="identical types|norm"):
        build(half, tmp_path / "mixed.onnx")
