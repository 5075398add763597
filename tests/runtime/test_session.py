"""An artifact is verified before it is loaded, runs where it was asked to, and never gives bad features."""

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

from runtime import opening as session_module
from runtime.backends.onnx_scan import refuse_control_flow, refuse_external_data
from runtime.errors import ArtifactError, ConfigError, DeviceError, NonFiniteFeatures, OutOfMemory
from runtime.opening import open_artifact
from runtime.session import check_features
from runtime.spec import InputSpec
from tests.fakes.tiny_model import DIM, SPEC, graph, write_model

ort_session = pytest.importorskip("runtime.backends.onnxruntime", reason="needs onnxruntime")

CAMERAS = dataclasses.replace(SPEC, camera="input", cameras=3, dataset="anny")
FLOATS = dataclasses.replace(SPEC, layout="float-nchw")


def crops(count: int, spec: InputSpec = SPEC) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, spec.height, spec.width, 3), dtype=np.uint8)


def test_an_artifact_opens_with_its_identity_and_runs(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx")
    artifact = open_artifact(path, threads=1)
    features = artifact.run(crops(5))
    assert artifact.sha256 == json.loads((tmp_path / "model.onnx.json").read_text())["sha256"]
    assert artifact.spec == SPEC and artifact.dim == DIM
    assert features.shape == (5, DIM) and features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    assert artifact.run(crops(0)).shape == (0, DIM)


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_a_fixed_batch_is_padded_and_changes_nothing(tmp_path: Path, batch: int) -> None:
    free = open_artifact(write_model(tmp_path / "free.onnx", CAMERAS), threads=1)
    spec = dataclasses.replace(CAMERAS, batch=batch)
    fixed = open_artifact(write_model(tmp_path / "fixed.onnx", spec), threads=1)
    ids = np.array([0, 1, 2, 3, 4, 0, 1])
    np.testing.assert_allclose(fixed.run(crops(7), ids), free.run(crops(7), ids), atol=1e-6)


@pytest.mark.parametrize("integer", [TensorProto.INT64, TensorProto.INT32])
def test_camera_ids_reach_the_graph_in_its_own_integer_type(tmp_path: Path, integer: int) -> None:
    artifact = open_artifact(write_model(tmp_path / "m.onnx", CAMERAS, camera_type=integer), threads=1)
    a, b = (artifact.run(crops(1), np.array([camera])) for camera in (0, 1))
    assert np.abs(a - b).max() > 0.01


def test_camera_ids_must_be_given_exactly_when_the_model_takes_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one camera id per image"):
        open_artifact(write_model(tmp_path / "a.onnx", CAMERAS)).run(crops(1))
    with pytest.raises(ConfigError, match="no camera ids"):
        open_artifact(write_model(tmp_path / "b.onnx")).run(crops(1), np.zeros(1, int))


@pytest.mark.parametrize("damage", ["flip", "cut", "append", "empty"])
def test_a_changed_file_is_refused_before_it_is_loaded(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model(tmp_path / "m.onnx")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    changed = {"flip": data, "cut": data[:-9], "append": data + b"x", "empty": b""}
    path.write_bytes(changed[damage])
    monkeypatch.setitem(session_module.OPENERS, "onnx", lambda *_: pytest.fail("was loaded"))
    with pytest.raises(ArtifactError, match="changed since"):
        open_artifact(path)


@pytest.mark.parametrize("gate", [None, {}, {"passed": None}, {"passed": False}, {"passed": "yes"}, "passed"])
def test_an_ungated_model_runs_only_on_demand_and_loudly(
    tmp_path: Path, gate: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_model(tmp_path / "m.onnx", manifest={"gate": gate})
    with pytest.raises(ArtifactError, match="allow_ungated=True"):
        open_artifact(path)
    assert open_artifact(path, allow_ungated=True).run(crops(1)).shape == (1, DIM)
    captured = capsys.readouterr()
    assert "WARNING" in captured.err and captured.out == ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": "features"}, "no runnable model"),
        ({"kind": None}, "no runnable model"),
        ({"schema": 99}, "schema"),
        ({"output": {}}, "lacks"),
        ({"output": {"dim": "6"}}, "lacks"),
        ({"output": {"dim": DIM + 1}}, "its manifest says 7"),
        ({"input": None}, "lacks"),
        ({"input": {"mean": [1, 1, 1]}}, "incomplete"),
        ({"input": SPEC.to_json() | {"gamma": 2.2}}, "unknown input fields"),
        ({"input": SPEC.to_json() | {"height": 64}}, "takes images"),
        ({"input": FLOATS.to_json()}, "takes images"),
        ({"input": CAMERAS.to_json()}, "camera_ids"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, fields: dict, reason: str) -> None:
    path = write_model(tmp_path / "m.onnx", manifest=fields)
    with pytest.raises(ArtifactError, match=reason):
        open_artifact(path)


def test_weights_and_missing_files_name_the_command_that_helps(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.pth"):
        with pytest.raises(ArtifactError, match=r"python export_onnx\.py"):
            open_artifact(tmp_path / name)
    with pytest.raises(ArtifactError, match="no such file"):
        open_artifact(tmp_path / "none.onnx")
    path = write_model(tmp_path / "m.onnx")
    (tmp_path / "m.onnx.json").unlink()
    with pytest.raises(ArtifactError, match="manifest"):
        open_artifact(path)


def test_features_that_are_not_numbers_are_an_error(tmp_path: Path) -> None:
    artifact = open_artifact(write_model(tmp_path / "m.onnx", nan=True))
    with pytest.raises(NonFiniteFeatures) as caught:
        artifact.run(crops(3))
    assert caught.value.rows == (0, 1, 2) and caught.value.code == 7


def test_check_features_finds_the_row_and_the_wrong_shape() -> None:
    features = np.ones((3, 2), np.float32)
    assert check_features(features, 3, 2) is features
    features[1, 0] = np.inf
    with pytest.raises(NonFiniteFeatures) as caught:
        check_features(features, 3, 2)
    assert caught.value.rows == (1,)
    for wrong in (np.ones((2, 2), np.float32), np.ones((3, 3), np.float32), np.ones((3, 2))):
        with pytest.raises(ArtifactError, match="not float32"):
            check_features(wrong, 3, 2)


def test_asking_for_cuda_without_it_is_an_error_that_says_what_to_install(tmp_path: Path) -> None:
    if "CUDAExecutionProvider" in ort_session.onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    path = write_model(tmp_path / "m.onnx")
    with pytest.raises(DeviceError, match=r"onnxruntime-gpu"):
        open_artifact(path, device="cuda")


def test_a_silent_fall_back_to_the_cpu_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_model(tmp_path / "m.onnx")
    fake = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    library = SimpleNamespace(
        __version__="1",
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        InferenceSession=lambda *args, **options: fake,
        SessionOptions=ort_session.onnxruntime.SessionOptions,
    )
    monkeypatch.setattr(ort_session, "onnxruntime", library)
    with pytest.raises(DeviceError, match="did not start"):
        open_artifact(path, device="cuda")


def test_out_of_memory_and_other_failures_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = open_artifact(write_model(tmp_path / "m.onnx"))

    def fail(text: str) -> None:
        def run(*args: object) -> None:
            raise RuntimeError(text)

        monkeypatch.setattr(artifact.run, "_session", SimpleNamespace(run=run))

    fail("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 9")
    with pytest.raises(OutOfMemory, match="smaller batch"):
        artifact.run(crops(2))
    fail("CUDA failure 700:\n an illegal memory access was encountered")
    with pytest.raises(DeviceError, match="illegal") as caught:
        artifact.run(crops(2))
    assert not isinstance(caught.value, OutOfMemory) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("threads", "device"), [(0, "cpu"), (-1, "cpu"), (None, "tpu")])
def test_impossible_options_are_usage_errors(tmp_path: Path, threads: int | None, device: str) -> None:
    path = write_model(tmp_path / "m.onnx")
    with pytest.raises(ConfigError):
        open_artifact(path, threads=threads, device=device)


@pytest.mark.parametrize("part", range(0, 64, 3))
def test_a_cut_onnx_file_is_one_line_not_a_crash(tmp_path: Path, part: int) -> None:
    path = write_model(tmp_path / "m.onnx")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * part // 64])
    with pytest.raises(ArtifactError) as caught:
        ort_session.open_onnxruntime(path, SPEC)
    assert "\n" not in str(caught.value)


def external(tensor: TensorProto, location: str) -> TensorProto:
    """The tensor, its values said to be in another file."""
    moved = TensorProto()
    moved.CopyFrom(tensor)
    moved.ClearField("raw_data")
    moved.data_location = TensorProto.EXTERNAL
    entry = moved.external_data.add()
    entry.key, entry.value = "location", location
    return moved


@pytest.mark.parametrize("location", ["weights.bin", "../secret", "/etc/hostname", "hard", "soft"])
def test_tensors_in_other_files_are_refused(tmp_path: Path, location: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4096))
    folder = tmp_path / "models"
    folder.mkdir()
    os.link(secret, folder / "hard")
    os.symlink(secret, folder / "soft")
    (folder / "weights.bin").write_bytes(bytes(4096))
    model = graph(SPEC)
    model.graph.initializer[0].CopyFrom(external(model.graph.initializer[0], location))
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="other files"):
        ort_session.open_onnxruntime(folder / "m.onnx", SPEC)


def _in_constant(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def _in_subgraph(model: onnx.ModelProto, tensor: TensorProto) -> None:
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))


def _in_function(model: onnx.ModelProto, tensor: TensorProto) -> None:
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor)]
    model.functions.append(helper.make_function("own", "F", [], ["c"], nodes, [helper.make_opsetid("", 17)]))


def _in_sparse(model: onnx.ModelProto, tensor: TensorProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(tensor)


def _in_training(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().initialization.initializer.append(tensor)


@pytest.mark.parametrize("hide", [_in_constant, _in_subgraph, _in_function, _in_sparse, _in_training])
def test_external_tensors_are_found_wherever_they_hide(tmp_path: Path, hide: object) -> None:
    path = tmp_path / "m.onnx"
    plain = numpy_helper.from_array(np.ones(4, np.float32), "t")
    for tensor, refused in ((plain, False), (external(plain, "x"), True)):
        model = graph(SPEC)
        hide(model, tensor)  # type: ignore[operator]
        path.write_bytes(model.SerializeToString())
        if refused:
            with pytest.raises(ArtifactError, match="other files"):
                refuse_external_data(path)
        else:
            refuse_external_data(path)


def test_a_loop_or_a_branch_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """A loop of 2**62 turns opens like any other, and never ends."""
    path = tmp_path / "m.onnx"
    path.write_bytes(graph(SPEC).SerializeToString())
    refuse_control_flow(path)
    model = graph(SPEC)
    _in_subgraph(model, numpy_helper.from_array(np.ones(4, np.float32), "t"))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="branch"):
        ort_session.open_onnxruntime(path, SPEC)


def test_onnxruntime_is_imported_only_when_a_model_is_opened() -> None:
    code = "import sys, runtime.opening, runtime.cli.evaluation; sys.exit('onnxruntime' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
