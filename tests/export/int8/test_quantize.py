"""INT8 graphs: which nodes are quantised and how, what stays float, and that a real parser and builder take the result."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from export.exporting import build_graph
from export.fp16.convert import type_conflicts
from export.int8.groups import groups
from export.int8.quantize import SCHEMES, calibrate, quantise, quantised, stored_scale, with_qdq
from export.tensorrt8 import for_tensorrt8
from prune.model.surgery import remove_blocks
from prune.model.transreid import TransReID
from runtime.errors import ArtifactError, ConfigError, DataError
from runtime.gate import LIMITS, compare, failures
from tests.fakes import lite
from tests.fakes.rtx_build import build, needs_rtx

TARGETS = ("onnxruntime", "tensorrt", "tensorrt8")
SPEC = dataclasses.replace(lite.SPEC, layout="uint8-nhwc")
PARTS = ("qkv", "proj", "fc1", "fc2")


def feeds(count=32, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 4, 3))
    images = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2).astype(np.uint8)
    rows = np.arange(count) % 5
    return [{"images": images[at : at + 8], "camera_ids": rows[at : at + 8]} for at in range(0, count, 8)]


def run(graph, fed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds = {value.name: value.type for value in session.get_inputs()}
    integer = np.int32 if kinds["camera_ids"] == "tensor(int32)" else np.int64
    return np.concatenate(
        [session.run(None, feed | {"camera_ids": feed["camera_ids"].astype(integer)})[0] for feed in fed]
    )


@pytest.fixture(scope="module")
def fp32():
    return build_graph(lite.pruned(), SPEC, "folded")[0]


@pytest.fixture(scope="module")
def ranges(fp32):
    return calibrate(fp32, feeds())


@pytest.fixture(scope="module")
def int8(fp32, ranges):
    return {target: with_qdq(fp32, ranges, target=target) for target in TARGETS}


def producers_of(graph):
    return {name: node for node in graph.graph.node for name in node.output}


def values(graph):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}


@pytest.mark.parametrize("form", ["folded", pytest.param("reference", marks=pytest.mark.full)])
@pytest.mark.parametrize("network", ["pruned", "kv", "no JPM", "untrained"])
def test_every_linear_has_a_group_with_a_name_of_its_own(network, form):
    model = {
        "pruned": lambda: lite.pruned(),
        "kv": lambda: lite.shallow(lite.pruned(mode="kv")),
        # its last block is no branch
        "no JPM": lambda: remove_blocks(lite.model(jpm=False), range(2, 7)),
        # equal norms and zero biases: the exporter merges or drops them
        "untrained": lambda: lite.shallow(TransReID(lite.architecture()).eval()),
    }[network]()
    graph = build_graph(model, SPEC, form)[0]
    group_nodes = groups(graph)
    blocks = [f"block{index}" for index in range({"pruned": 7, "no JPM": 3}.get(network, 2))]
    blocks += [] if network == "no JPM" else ["jpm.b1", "jpm.b2"]
    assert list(group_nodes) == [f"{block}.{part}" for block in blocks for part in PARTS]
    # bypass: one node for each group; keys and values of a kv block read other tokens than its queries
    twice = {name for name, nodes in group_nodes.items() if len(nodes) == 2}
    assert twice == ({f"block{index}.qkv" for index in range(2)} if network == "kv" else set())
    nodes = {node.name: node for node in graph.graph.node}
    matrices = {tensor.name: tuple(tensor.dims) for tensor in graph.graph.initializer}
    for name, members in group_nodes.items():
        input_width, output_width = matrices[nodes[members[0]].input[1]]
        if name.endswith("fc1"):
            assert output_width == 4 * input_width
        if name.endswith("fc2"):
            assert input_width == 4 * output_width


def test_group_names_are_those_of_the_weights(fp32):
    """Where the exporter kept a Linear's own name or its norm's, the group says the same."""
    nodes = {node.name: node for node in fp32.graph.node}
    producers = producers_of(fp32)
    checked_count = 0
    for name, members in groups(fp32).items():
        norm = producers[nodes[members[0]].input[0]]
        if norm.op_type == "LayerNormalization":
            owner = norm.input[1].replace(".block.", ".").split(".norm")[0].removeprefix("output.")
            block = name.rsplit(".", 1)[0].replace("jpm.b1", "heads.0").replace("jpm.b2", "heads.1")
            assert owner in (block, block.replace("block", "blocks."))
            checked_count += 1
    assert checked_count == 2 * 7 + 2


@pytest.mark.parametrize("target", TARGETS)
def test_linears_and_nothing_else_are_quantised(target, fp32, int8):
    graph, producers = int8[target], producers_of(int8[target])
    onnx.checker.check_model(graph, full_check=True)
    linear = {name for members in groups(fp32).values() for name in members}
    for node in graph.graph.node:
        sources = [producers[name].op_type for name in node.input if name in producers]
        if node.name in linear:
            assert sources[:2] == ["DequantizeLinear"] * 2, node.name
        elif node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            assert "DequantizeLinear" not in sources, node.name
    assert {node.op_type for node in graph.graph.node} - {node.op_type for node in fp32.graph.node} <= {
        "QuantizeLinear",
        "DequantizeLinear",
        "Cast",
    }


@pytest.mark.parametrize("target", TARGETS)
def test_scales_and_zero_points_are_what_the_target_takes(target, fp32, int8):
    graph, constants, producers = int8[target], values(int8[target]), producers_of(int8[target])
    scale_type = np.float16 if target == "tensorrt" else np.float32
    for node in graph.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        source, scale, zero = node.input
        assert constants[scale].dtype == scale_type and (constants[scale] > 0).all()
        # no int32 biases
        assert constants[zero].dtype in (np.int8, np.uint8)
        if weight := constants[scale].ndim:
            assert constants[scale].ndim == 1 and (constants[zero] == 0).all()
            assert (source in constants) == (target != "tensorrt8")
        if target != "onnxruntime":
            assert constants[zero].dtype == np.int8 and not constants[zero].any()
        elif not weight:
            assert constants[zero].dtype == np.uint8
        if source in producers:
            assert producers[source].input[1:] == node.input[1:]
    version = graph.opset_import[0].version
    assert (version, graph.ir_version) == {"tensorrt8": (17, 8), "tensorrt": (19, 9)}.get(target, (18, 8))
    cameras = {value.name: value.type.tensor_type.elem_type for value in graph.graph.input}["camera_ids"]
    assert cameras == (TensorProto.INT32 if target == "tensorrt8" else TensorProto.INT64)


@pytest.mark.parametrize("target", TARGETS)
def test_features_stay_close_to_the_parent(target, fp32, int8):
    fed = feeds(seed=1)
    numbers = compare(run(fp32, fed), run(int8[target], fed))
    assert numbers["cosine_min"] > 0.99 and numbers["top10"] > 0.9


def test_the_cpu_form_of_a_tensorrt_file_computes_the_same(fp32, ranges, int8):
    """The form that sensitivity is measured on has the features of the file itself, apart from FP16."""
    fed = feeds(seed=1)
    file_features, cpu_features = (
        run(int8["tensorrt8"], fed),
        run(with_qdq(fp32, ranges, target="tensorrt-on-cpu"), fed),
    )
    assert compare(file_features, cpu_features)["cosine_min"] > 0.9999


def test_a_skipped_group_is_the_parent_again_and_all_of_them_are_it(fp32, ranges):
    fed, names = feeds(seed=1), list(groups(fp32))
    for target in ("onnxruntime", "tensorrt-on-cpu"):
        skipped = run(with_qdq(fp32, ranges, target=target, skip=names), fed)
        np.testing.assert_allclose(skipped, run(fp32, fed), atol=1e-6)
    partly_quantised = with_qdq(fp32, ranges, target="onnxruntime", skip=["block2.fc1"])
    nodes, producers = (
        {node.name: node for node in partly_quantised.graph.node},
        producers_of(partly_quantised),
    )
    (name,) = groups(fp32)["block2.fc1"]
    assert producers[nodes[name].input[0]].op_type == "LayerNormalization"


def test_features_do_not_depend_on_the_other_images_of_a_batch(int8):
    """Dynamic quantisation, which is a little faster, does not have this property."""
    (batch,) = feeds(8, seed=2)
    alone = [{name: array[at : at + 1] for name, array in batch.items()} for at in range(8)]
    assert np.abs(run(int8["onnxruntime"], [batch]) - run(int8["onnxruntime"], alone)).max() < 1e-3


def test_ranges_are_those_of_the_tensors(fp32):
    """Compared with the tensors themselves, without cutting a tail."""
    fed = feeds(16)
    measured_ranges = calibrate(fp32, fed, percentile=100)
    probed = onnx.ModelProto()
    probed.CopyFrom(fp32)
    for name in measured_ranges:
        probed.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [session.run(list(measured_ranges), feed) for feed in fed]
    for index, (low, high) in enumerate(measured_ranges.values()):
        exact = [(part[index].min(), part[index].max()) for part in outputs]
        width = max(high - low, 1e-6)
        assert abs(low - min(bounds[0] for bounds in exact)) < 0.01 * width
        assert abs(high - max(bounds[1] for bounds in exact)) < 0.01 * width


def test_quantise_is_calibrate_and_with_qdq(fp32, int8):
    again = quantise(fp32, feeds(), target="onnxruntime")
    assert again.SerializeToString() == int8["onnxruntime"].SerializeToString()


def test_no_feeds_unknown_targets_and_groups_are_refused(fp32, ranges):
    with pytest.raises(DataError, match="--calibration DIR"):
        calibrate(fp32, [])
    with pytest.raises(ConfigError, match="block99.fc1"):
        with_qdq(fp32, ranges, target="tensorrt", skip=["block99.fc1"])
    with pytest.raises(ConfigError, match="--target openvino"):
        with_qdq(fp32, ranges, target="openvino")
    assert set(TARGETS) < set(SCHEMES)


def test_saturated_ranges_collapse_and_the_gate_says_so(fp32, ranges, int8):
    """Calibration on anything but images can do this; the healthy form of the same model does not collapse."""
    fed = feeds(seed=1)
    blind = {name: (low / 1000, high / 1000) for name, (low, high) in ranges.items()}
    broken = compare(run(fp32, fed), run(with_qdq(fp32, blind, target="onnxruntime"), fed))
    assert failures(broken, LIMITS["int8"])
    healthy = compare(run(fp32, fed), run(int8["onnxruntime"], fed))
    assert healthy["cosine_min"] > LIMITS["int8"].cosine_min > broken["cosine_min"]


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_weights_come_back_within_half_a_step(kind):
    random = np.random.default_rng(0)
    matrix = random.normal(size=(64, 5)) * [1e-5, 1e-3, 1.0, 30.0, 0.0]
    scale = stored_scale(np.abs(matrix).max(axis=0) / 127, np.dtype(kind)).astype(np.float64)
    back = quantised(matrix, scale) * scale
    assert np.isfinite(scale).all() and (scale > 0).all()
    # a scale that FP16 rounds down clips at most a sixteenth of the largest weight
    assert (np.abs(back - matrix) <= 0.5001 * scale + np.abs(matrix).max(axis=0) / 16).all()
    assert (np.abs(back - matrix)[:, 2:] <= 0.6 * scale[2:]).all()


def test_for_tensorrt8_refuses_an_opset_that_it_does_not_know(fp32):
    newer = onnx.ModelProto()
    newer.CopyFrom(fp32)
    newer.opset_import[0].version = 21
    with pytest.raises(ArtifactError, match="opset 21"):
        for_tensorrt8(newer)


def test_for_tensorrt8_changes_no_number(fp32):
    fed = feeds(seed=1)
    rewritten = for_tensorrt8(fp32)
    onnx.checker.check_model(rewritten, full_check=True)
    assert np.abs(run(rewritten, fed) - run(fp32, fed)).max() < 1e-6


def test_the_tensorrt_file_mixes_no_float_types(int8):
    assert type_conflicts(int8["tensorrt"]) == []


@needs_rtx
@pytest.mark.parametrize("target, fused", [("tensorrt", True), ("tensorrt8", False)])
def test_a_real_parser_and_builder_take_it(target, fused, int8, tmp_path):
    """Only an FP16 base keeps attention fused."""
    strings, _ = build(int8[target], tmp_path / "m.onnx")
    assert (strings >= 10) == fused
