"""OpenVINO behind the same seam: ONNX Runtime's features, the same refusals, and never a type that nobody asked for."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.errors import ArtifactError, ConfigError, DeviceError, NonFiniteFeatures, OutOfMemory
from runtime.files.manifest import write_manifest
from runtime.host.processor import saturates
from runtime.opening import open_artifact
from runtime.spec import InputSpec
from tests.fakes.tiny_model import DIM, SPEC, graph, write_model

openvino_session = pytest.importorskip("runtime.backends.openvino", reason="needs openvino")
pytest.importorskip("onnxruntime", reason="needs onnxruntime, whose features are the oracle")

CAMERAS = dataclasses.replace(SPEC, camera="input", cameras=3, dataset="anny")
FLOATS = dataclasses.replace(SPEC, layout="float-nchw")
needs_bf16 = pytest.mark.skipif(not openvino_session.has_bf16(), reason="this CPU has no BF16 instructions")


def crops(count: int, spec: InputSpec = SPEC) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, spec.height, spec.width, 3), dtype=np.uint8)


@pytest.mark.parametrize("integer", [TensorProto.INT64, TensorProto.INT32])
def test_fp32_gives_the_features_of_onnx_runtime(tmp_path: Path, integer: int) -> None:
    path = write_model(tmp_path / "m.onnx", CAMERAS, camera_type=integer)
    ids = np.array([0, 1, 2, 3, 4])
    ours, theirs = (open_artifact(path, threads=1, backend=name) for name in ("openvino", "onnxruntime"))
    assert (ours.backend, theirs.backend) == ("openvino", "onnxruntime")
    features = ours.run(crops(5), ids)
    assert features.shape == (5, DIM) and features.dtype == np.float32
    np.testing.assert_allclose(features, theirs.run(crops(5), ids), atol=1e-5)
    assert ours.run(crops(0), ids[:0]).shape == (0, DIM)


def test_float_input_is_taken(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", FLOATS)
    images = np.random.default_rng(0).normal(size=(3, 3, SPEC.height, SPEC.width)).astype(np.float32)
    # not in one piece, as a slice of a larger array is
    images = np.repeat(images, 2, axis=3)[..., ::2]
    ours, theirs = (open_artifact(path, threads=1, backend=name).run for name in ("openvino", "onnxruntime"))
    np.testing.assert_allclose(ours(images), theirs(images), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_a_fixed_batch_is_padded_and_changes_nothing(tmp_path: Path, batch: int) -> None:
    spec = dataclasses.replace(CAMERAS, batch=batch)
    fixed = open_artifact(write_model(tmp_path / "fixed.onnx", spec), threads=1, backend="openvino")
    free = open_artifact(write_model(tmp_path / "free.onnx", CAMERAS), threads=1)
    ids = np.array([0, 1, 2, 3, 4, 0, 1])
    np.testing.assert_allclose(fixed.run(crops(7), ids), free.run(crops(7), ids), atol=1e-5)


def test_batches_of_any_size_in_any_order_give_each_image_its_own_feature(tmp_path: Path) -> None:
    run = open_artifact(write_model(tmp_path / "m.onnx", CAMERAS), threads=1, backend="openvino").run
    images, ids = crops(9), np.arange(9) % 5
    whole = run(images, ids)
    for size in (4, 3, 3, 1, 2, 9, 5, 4):
        np.testing.assert_allclose(run(images[-size:], ids[-size:]), whole[-size:], atol=1e-6)
        assert len(run._compiled) <= openvino_session.KEPT


def test_a_last_small_batch_is_padded_and_one_that_comes_again_is_compiled(tmp_path: Path) -> None:
    run = open_artifact(write_model(tmp_path / "m.onnx"), threads=1, backend="openvino").run
    sizes = []
    for count in (4, 4, 3, 1, 1):
        run(crops(count))
        sizes.append(list(run._compiled))
    assert sizes == [[4], [4], [4], [4], [4, 1]]


def test_features_do_not_change_under_the_reader_when_the_session_runs_again(tmp_path: Path) -> None:
    run = open_artifact(write_model(tmp_path / "m.onnx"), threads=1, backend="openvino").run
    first = run(crops(2))
    kept = first.copy()
    run(255 - crops(2))
    np.testing.assert_array_equal(first, kept)


@needs_bf16
def test_bf16_is_near_fp32_but_not_fp32(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx")
    exact, short = (open_artifact(path, threads=1, backend=name) for name in ("openvino", "openvino-bf16"))
    a, b = exact.run(crops(8)), short.run(crops(8))
    assert short.backend == "openvino-bf16"
    assert (a * b).sum(axis=1).min() > 0.999
    # 8 bits of mantissa: were the hint ignored, both would be equal
    assert np.abs(a - b).max() > 1e-4
    assert exact.run.matmul_types() == {"f32": 1} and short.run.matmul_types() == {"bf16": 1}


def test_bf16_where_the_cpu_has_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_model(tmp_path / "m.onnx")
    monkeypatch.setattr(openvino_session, "has_bf16", lambda core: False)
    with pytest.raises(DeviceError, match="no BF16 instructions; use .*openvino"):
        open_artifact(path, backend="openvino-bf16")


def quantised(spec: InputSpec) -> onnx.ModelProto:
    """The tiny model, its product between QuantizeLinear and DequantizeLinear as the export writes them."""
    model = graph(spec)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "weight")
    values = numpy_helper.to_array(weight)
    scale = np.abs(values).max(axis=0) / 127
    model.graph.initializer.remove(weight)
    constants = {
        "w8": np.round(values / scale).astype(np.int8),
        "w_scale": scale.astype(np.float32),
        "w_zero": np.zeros(len(scale), np.int8),
        "x_scale": np.float32(1),
        "x_zero": np.uint8(0),
    }
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    nodes = [
        helper.make_node("DequantizeLinear", ["w8", "w_scale", "w_zero"], ["weight"], axis=1),
        helper.make_node("QuantizeLinear", ["flat", "x_scale", "x_zero"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "x_scale", "x_zero"], ["x"]),
    ]
    place = next(index for index, node in enumerate(model.graph.node) if node.op_type == "MatMul")
    model.graph.node[place].input[0] = "x"
    for node in reversed(nodes):
        model.graph.node.insert(place, node)
    onnx.checker.check_model(model, full_check=True)
    return model


def test_a_quantised_graph_computes_in_int8_where_that_does_not_saturate(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", manifest={"precision": "int8"})
    onnx.save(quantised(SPEC), path)
    manifest = json.loads((tmp_path / "m.onnx.json").read_text())
    write_manifest(path, {key: value for key, value in manifest.items() if key != "sha256"})
    ours, theirs = (open_artifact(path, threads=1, backend=name).run for name in ("openvino", "onnxruntime"))
    assert ours.matmul_types() == {}
    np.testing.assert_allclose(ours(crops(8)), theirs(crops(8)), atol=2e-3)
    assert ours.matmul_types() == {"f32" if saturates() else "u8": 1}


def test_features_that_are_not_numbers_are_an_error(tmp_path: Path) -> None:
    artifact = open_artifact(write_model(tmp_path / "m.onnx", nan=True), backend="openvino")
    with pytest.raises(NonFiniteFeatures) as caught:
        artifact.run(crops(3))
    assert caught.value.rows == (0, 1, 2)


def test_calls_that_do_not_fit_the_graph_are_refused_not_cast(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one camera id per image"):
        open_artifact(write_model(tmp_path / "a.onnx", CAMERAS), backend="openvino").run(crops(1))
    run = open_artifact(write_model(tmp_path / "b.onnx"), backend="openvino").run
    with pytest.raises(ConfigError, match="no camera ids"):
        run(crops(1), np.zeros(1, int))
    with pytest.raises(ConfigError, match="images u8, not float32"):
        run(crops(1).astype(np.float32))
    with pytest.raises(DeviceError) as caught:
        run(crops(1)[:, :, :8])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"output": {"dim": DIM + 1}}, "its manifest says 7"),
        ({"input": SPEC.to_json() | {"height": 64}}, "takes images"),
        ({"input": FLOATS.to_json()}, "takes images"),
        ({"input": CAMERAS.to_json()}, "camera_ids"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, fields: dict, reason: str) -> None:
    path = write_model(tmp_path / "m.onnx", manifest=fields)
    with pytest.raises(ArtifactError, match=reason):
        open_artifact(path, backend="openvino")


@pytest.mark.parametrize("part", range(0, 64, 9))
def test_a_cut_onnx_file_is_one_line_not_a_crash(tmp_path: Path, part: int) -> None:
    path = write_model(tmp_path / "m.onnx")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * part // 64])
    with pytest.raises(ArtifactError) as caught:
        openvino_session.open_openvino(path, SPEC)
    assert "\n" not in str(caught.value)


def test_an_operator_that_openvino_lacks_is_one_line_that_names_the_other_engine(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = graph(SPEC)
    model.graph.node[-1].domain = "nobody.knows"
    model.opset_import.append(helper.make_opsetid("nobody.knows", 1))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="backend=.onnxruntime") as caught:
        openvino_session.open_openvino(path, SPEC)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("Exception from infer_request.cpp:224:\nstd::bad_alloc"), OutOfMemory),
        (RuntimeError("could not allocate 99 bytes"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (RuntimeError("Check failed\nat node 7"), DeviceError),
    ],
)
def test_out_of_memory_and_other_failures_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[DeviceError]
) -> None:
    run = open_artifact(write_model(tmp_path / "m.onnx"), backend="openvino").run

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(run, "_core", SimpleNamespace(compile_model=fail))
    with pytest.raises(kind) as caught:
        run(crops(2))
    assert type(caught.value) is kind and "\n" not in str(caught.value) and "batch of 2" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"threads": 0}, "threads=0"),
        ({"device": "cuda"}, "CPU only"),
        ({"backend": "tvm"}, "backend='tvm': .*onnxruntime, openvino"),
    ],
)
def test_impossible_options_are_usage_errors(tmp_path: Path, options: dict, reason: str) -> None:
    path = write_model(tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match=reason):
        open_artifact(path, **({"backend": "openvino"} | options))
    with pytest.raises(ConfigError, match="precision 'int4'"):
        openvino_session.open_openvino(path, SPEC, precision="int4")


def test_without_openvino_the_refusal_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model(tmp_path / "m.onnx")
    monkeypatch.delitem(sys.modules, "runtime.backends.openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DeviceError, match=r"openvino is not installed; pip install '\.\[openvino\]'"):
        open_artifact(path, backend="openvino")
    assert open_artifact(path).run(crops(1)).shape == (1, DIM)


def test_openvino_is_imported_only_when_it_is_asked_for() -> None:
    code = "import sys, runtime.opening, runtime.cli.evaluation, runtime.backend_timing; sys.exit('openvino' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_opening_a_model_reports_to_nobody(tmp_path: Path) -> None:
    code = (
        "import sys, runtime.backends.openvino\n"
        "loaded = [name for name, module in sys.modules.items() if module and 'telemetry' in name.split('.')[0]]\n"
        "assert not loaded, loaded"
    )
    root = Path(__file__).resolve().parents[3]
    # as on a person's machine: OpenVINO keeps quiet where it takes the place for a CI job
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "GITHUB"))}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
