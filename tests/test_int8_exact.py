"""INT8 gives the same features on every kind of processor: every session against an evaluation of the graph in int32.

ONNX Runtime chooses its kernels by the processor alone and honours no variable that hides instruction sets; OpenVINO's oneDNN does.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.exporting import build_graph
from export.int8 import quantize
from export.int8.eval_set import EvalSet
from export.int8.quantize import Scheme, calibrate, with_qdq
from export.int8.sensitivity import features
from runtime.backends.onnxruntime import session_options
from runtime.host.processor import saturates
from tests.export.int8.test_quantize import SPEC, feeds
from tests.fakes import lite
from tests.fakes.integer_oracle import evaluate

ROOT = Path(__file__).resolve().parent.parent
EIGHT_BITS = "8 bits"
# the form of this project's earlier files, which must come out right too
SCHEMES = quantize.SCHEMES | {EIGHT_BITS: Scheme(symmetric=False, quantised_weights=True)}
FED = feeds(8, seed=1)


@pytest.fixture(scope="module")
def written(shared_traces):
    """(form, target) -> the graph in INT8, made once."""
    made, bases = {}, {}

    def graph(target, form="folded"):
        if form not in bases:
            base = build_graph(lite.pruned(), SPEC, form)[0]
            bases[form] = base, calibrate(base, feeds())
        if (form, target) not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(quantize, "SCHEMES", SCHEMES)
                made[form, target] = with_qdq(*bases[form], target=target)
        return made[form, target]

    return graph


@pytest.fixture(scope="module")
def exact(written):
    """What int32 makes of each of them."""
    made = {}

    def found(target, form="folded"):
        if (form, target) not in made:
            made[form, target] = np.concatenate([evaluate(written(target, form), feed) for feed in FED])
        return made[form, target]

    return found


def run(graph, fed, options=None):
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options or session_options(threads=1))
    kinds = {value.name: value.type for value in session.get_inputs()}
    integer = np.int32 if kinds.get("camera_ids") == "tensor(int32)" else np.int64
    fed = [
        {name: array.astype(integer) if name == "camera_ids" else array for name, array in feed.items()}
        for feed in fed
    ]
    return np.concatenate([session.run(None, feed)[0] for feed in fed])


@pytest.fixture
def openvino_session():
    return pytest.importorskip("runtime.backends.openvino", reason="needs openvino")


def lowest_cosine(a, b):
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return ((a * b).sum(axis=-1) / lengths).min()


@pytest.mark.parametrize("target", ["onnxruntime", EIGHT_BITS, "tensorrt", "tensorrt8", "tensorrt-on-cpu"])
def test_onnxruntime_is_within_a_thousandth_of_int32(target, written, exact):
    # the typed file rounds to FP16 besides, which float64 does not
    allowed = 3e-3 if target == "tensorrt" else 1e-3
    assert lowest_cosine(exact(target), run(written(target), FED)) > 1 - allowed


def test_the_reference_form_is_within_it_too(written, exact):
    assert (
        lowest_cosine(exact("onnxruntime", "reference"), run(written("onnxruntime", "reference"), FED))
        > 0.999
    )


@pytest.mark.parametrize("target", ["onnxruntime", EIGHT_BITS])
def test_openvino_is_within_it_too(target, written, exact, openvino_session, tmp_path):
    onnx.save(written(target), tmp_path / "m.onnx")
    session = openvino_session.open_openvino(tmp_path / "m.onnx", SPEC, threads=1)
    session_features = np.concatenate([session(feed["images"], feed["camera_ids"]) for feed in FED])
    assert lowest_cosine(exact(target), session_features) > 0.999


def test_openvino_is_within_it_where_instruction_sets_are_hidden(written, exact, openvino_session, tmp_path):
    onnx.save(written(EIGHT_BITS), tmp_path / "m.onnx")
    np.savez(tmp_path / "fed.npz", **FED[0])
    code = (
        "import json, sys, numpy as np; from runtime.backends.openvino import open_openvino; from runtime.spec import InputSpec;"
        "fed = np.load(sys.argv[1]); spec = InputSpec.from_json(json.loads(sys.argv[4]), '');"
        "session = open_openvino(sys.argv[2], spec, threads=1);"
        "np.save(sys.argv[3], session(fed['images'], fed['camera_ids']))"
    )
    files = [str(tmp_path / file) for file in ("fed.npz", "m.onnx", "found.npy")]
    hidden = os.environ | {openvino_session.CUT_DOWN[0]: "AVX2"}
    words = [sys.executable, "-c", code, *files, json.dumps(SPEC.to_json())]
    subprocess.run(words, cwd=ROOT, env=hidden, check=True, timeout=300)
    assert lowest_cosine(exact(EIGHT_BITS)[: len(FED[0]["images"])], np.load(files[2])) > 0.999


def test_the_sensitivity_table_holds_nothing_of_this_processor(written, exact):
    """TensorRT's groups are chosen by what the device will compute."""
    held = EvalSet(FED[0]["images"], FED[0]["camera_ids"], SPEC, np.arange(8), np.arange(8), 0)
    assert lowest_cosine(exact("tensorrt-on-cpu"), features(written("tensorrt-on-cpu"), held)) > 0.999


def largest_weight(graph):
    return max(
        np.abs(numpy_helper.to_array(tensor).astype(int)).max()
        for tensor in graph.graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 2
    )


def test_a_file_for_cpus_cannot_saturate_in_any_program(written):
    """Two products of a uint8 and such a weight fit into 16 bits, whoever runs the file."""
    assert 2 * 255 * largest_weight(written("onnxruntime")) < 2**15
    assert largest_weight(written("tensorrt")) == largest_weight(written(EIGHT_BITS)) == 127


def product(largest):
    """One product whose every partial sum is as large as uint8 and `largest` make it."""
    random = np.random.default_rng(0)
    weights = np.where(random.random((64, 24)) < 0.75, largest, -largest).astype(np.int8)
    constants = {
        "scale": np.float32(1 / 255),
        "zero": np.uint8(0),
        "weight": weights,
        "weight_scale": np.full(24, 1 / 64, np.float32),
        "weight_zero": np.zeros(24, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 24])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FULL = [{"images": np.linspace(0.5, 1, 5 * 64, dtype=np.float32).reshape(5, 64)}]


@pytest.mark.parametrize("largest", [63, 127])
def test_the_largest_sums_are_exact(largest):
    graph = product(largest)
    np.testing.assert_allclose(run(graph, FULL), evaluate(graph, FULL[0]), rtol=1e-5)


@pytest.mark.skipif(not saturates(), reason="this processor does not saturate")
def test_without_our_options_the_largest_sums_saturate():
    """So that the test above can fail: the fault is there, and 7 bits alone are enough against it."""
    plain = onnxruntime.SessionOptions()
    graphs = {largest: product(largest) for largest in (63, 127)}
    errors = {
        largest: np.abs(run(graph, FULL, plain) / evaluate(graph, FULL[0]) - 1).max()
        for largest, graph in graphs.items()
    }
    assert errors[63] < 1e-5 and errors[127] > 0.1
