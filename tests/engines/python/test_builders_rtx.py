"""Engines really built by TensorRT-RTX, which needs no GPU: what it takes, and how it fails."""

import importlib.util
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.python.builders import build
from engines.trtexec.command import BuildRequest, Profile
from runtime.errors import ArtifactError, ConfigError, StorageError
from runtime.files.manifest import read_manifest
from runtime.spec import InputSpec
from tests.fakes.engine_files import write_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed; it comes with the extra test on Linux x86-64",
)
CAMERAS = InputSpec(height=32, width=16, camera="input", cameras=3)
FIXED = InputSpec(height=32, width=16, batch=4)
FLOATS = InputSpec(height=32, width=16, layout="float-nchw")


@pytest.fixture
def folder(tmp_path):
    """An empty folder of its own: what a build leaves behind shows."""
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


def rtx(path, *, capability="8.6", profiles=(), parent=None, **options):
    engine = path.with_suffix(".engine")
    request = BuildRequest(path, engine, tuple(Profile(*sizes) for sizes in profiles), **options)
    parent = parent or read_manifest(path)
    return build(request, parent, flavour="tensorrt_rtx", compute_capability=capability, engine=engine)


def files(folder):
    return sorted(os.listdir(folder))


def test_rtx_builds_a_dynamic_file_with_camera_ids_for_two_profiles(folder):
    model = write_model(folder / "m.onnx", CAMERAS)
    built = rtx(model, profiles=[(1, 4, 8), (16, 16, 32)])
    plan = (folder / "m.engine").read_bytes()
    assert built.bytes == len(plan) > 10_000 and plan.count(b"fmha") == built.fused_attention_strings == 0
    assert b"camera_ids" in plan and b"images" in plan
    assert built.version.startswith("1.") and built.compute_capabilities == ("8.6",)
    assert {"STRONGLY_TYPED", "SM86", "profile=1,4,8", "profile=16,16,32"} <= set(built.settings)
    assert built.seconds > 0 and 50 < built.peak_mib < 4000 and built.warnings == ()
    assert files(folder) == ["m.engine", "m.onnx", "m.onnx.json"]
    machine = built.machine
    assert (machine.tensorrt, machine.compute_capability, machine.gpu) == (built.version, "8.6", None)


@pytest.mark.parametrize(("spec", "word"), [(FIXED, "batch=4"), (FLOATS, "profile=1,8,32")])
def test_rtx_builds_a_fixed_batch_and_float_images_for_its_own_choice_of_gpus(folder, spec, word):
    built = rtx(write_model(folder / "m.onnx", spec), capability=None)
    assert built.compute_capabilities == () and built.machine.compute_capability is None
    assert word in built.settings and (folder / "m.engine").stat().st_size == built.bytes


def test_an_exported_model_builds_for_two_capabilities_in_one_engine(folder):
    # heavy imports, which only this test needs
    from export import cli as command
    from prune.model.file import save_model
    from tests.fakes import lite

    weights, out = folder / "m.safetensors", folder / "m.onnx"
    save_model(lite.pruned(), weights, lite.SPEC)
    assert command.main([str(weights), "--out", str(out), "--target", "tensorrt", "--gate", "off"]) == 0
    built = rtx(out, capability="8.6,8.9", profiles=[(1, 2, 4)])
    assert built.compute_capabilities == ("8.6", "8.9") and {"SM86", "SM89"} <= set(built.settings)
    assert built.fused_attention_strings == 0 and built.bytes == (folder / "m.engine").stat().st_size


def save(path, nodes, constants, *, output=(4, 6), opset=17, domain=None):
    """An ONNX file that takes what FIXED says, and that manifest."""
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, [4, 32, 16, 3])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, list(output))
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [images], [features], tensors)
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    manifest = {"kind": "onnx", "precision": "fp32", "target": "tensorrt", "opset": opset}
    return path, manifest | {"input": FIXED.to_json(), "output": {"dim": 6, "normalised": True}}


def attention(path, kind):
    """One attention of 2 heads of width 64 over 64 tokens in float `kind`."""
    node, random = helper.make_node, np.random.default_rng(0)
    number = TensorProto.FLOAT16 if kind is np.float16 else TensorProto.FLOAT
    constants = {name: random.normal(size=(24, 128)).astype(kind) / 9 for name in ("wq", "wk", "wv")}
    constants |= {"out": random.normal(size=(64, 6)).astype(kind), "scale": np.array(0.125, kind)}
    constants |= {"tokens": np.array([4, 64, 24]), "heads": np.array([4, 64, 2, 64])}
    nodes = [
        node("Cast", ["images"], ["float"], to=number),
        node("Reshape", ["float", "tokens"], ["x"]),
    ]
    for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("MatMul", ["x", f"w{part}"], [f"{part}1"]),
            node("Reshape", [f"{part}1", "heads"], [f"{part}2"]),
            node("Transpose", [f"{part}2"], [part], perm=order),
        ]
    nodes += [
        node("MatMul", ["q", "k"], ["qk"]),
        node("Mul", ["qk", "scale"], ["scaled"]),
        node("Softmax", ["scaled"], ["weights"], axis=-1),
        node("MatMul", ["weights", "v"], ["mixed"]),
        node("ReduceMean", ["mixed"], ["mean"], axes=[1, 2], keepdims=0),
        node("MatMul", ["mean", "out"], ["typed"]),
        node("Cast", ["typed"], ["features"], to=TensorProto.FLOAT),
    ]
    return save(path, nodes, constants)


def test_fused_attention_shows_in_fp16_and_not_in_fp32(folder):
    counts = {}
    for kind in (np.float16, np.float32):
        path, manifest = attention(folder / f"{kind.__name__}.onnx", kind)
        counts[kind] = rtx(path, parent=manifest).fused_attention_strings
    assert counts[np.float16] >= 5 and counts[np.float32] <= 2


def test_a_data_dependent_shape_is_refused_by_its_node(folder):
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("NonZero", ["float"], ["found"], name="/blocks.3/NonZero"),
        helper.make_node("Cast", ["found"], ["features"], to=TensorProto.FLOAT),
    ]
    path, manifest = save(folder / "m.onnx", nodes, {}, output=(4, "n"))
    with pytest.raises(ArtifactError, match="NonZero") as caught:
        rtx(path, parent=manifest)
    words = str(caught.value)
    assert "node /blocks.3/NonZero [NonZero]" in words and "NonZero plugin" in words and "\n" not in words
    assert "--target tensorrt" in words and "cudaError" not in words
    assert files(folder) == ["m.onnx"]


def test_a_graph_that_crashes_the_library_costs_one_line(folder):
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["float", "shape"], ["x"]),
        helper.make_node("MultiHeadAttention", ["x", "x", "x"], ["y"], domain="com.microsoft", num_heads=2),
        helper.make_node("ReduceMean", ["y"], ["features"], axes=[1], keepdims=0),
    ]
    path, manifest = save(folder / "m.onnx", nodes, {"shape": np.array([4, -1, 6])}, domain="com.microsoft")
    with pytest.raises(ArtifactError, match=r"tensorrt_rtx .*SIGSEGV.* (parsing|building)") as caught:
        rtx(path, parent=manifest)
    assert "\n" not in str(caught.value) and "python export_onnx.py" in str(caught.value)
    assert files(folder) == ["m.onnx"]


def test_a_file_cut_short_is_no_onnx(folder):
    model = write_model(folder / "m.onnx", FIXED)
    manifest = read_manifest(model)
    model.write_bytes(model.read_bytes()[:200])
    with pytest.raises(ArtifactError, match="Failed to parse the ONNX model"):
        rtx(model, parent=manifest)
    assert files(folder) == ["m.onnx", "m.onnx.json"]


@pytest.mark.parametrize("claimed", [FIXED, CAMERAS, InputSpec(height=64, width=16)])
def test_a_manifest_of_another_network_is_refused(folder, claimed):
    model = write_model(folder / "m.onnx", InputSpec(height=32, width=16))
    manifest = read_manifest(model) | {"input": claimed.to_json()}
    with pytest.raises(ArtifactError, match="manifest says"):
        rtx(model, parent=manifest)


def test_a_gpu_that_rtx_lacks_is_refused_with_those_it_has(folder):
    with pytest.raises(ConfigError, match=r"8\.7: tensorrt_rtx 1\..*8\.6.*12\.0.*--builder trtexec"):
        rtx(write_model(folder / "m.onnx"), capability="8.7")


def test_weakly_typed_files_of_tensorrt_8_are_not_for_rtx(folder):
    model = write_model(folder / "m.onnx", manifest={"precision": "fp16", "target": "tensorrt8", "opset": 17})
    with pytest.raises(ArtifactError, match=r"TensorRT-RTX"):
        rtx(model)


def test_a_folder_that_takes_no_file_is_a_storage_error(folder):
    model = write_model(folder / "m.onnx")
    request = BuildRequest(model, folder / "none" / "m.engine")
    temporary = folder / "none" / ".m.engine.abcdefgh.engine"
    with pytest.raises(StorageError, match="none/m.engine: .*--out"):
        build(
            request, read_manifest(model), flavour="tensorrt_rtx", compute_capability=None, engine=temporary
        )
