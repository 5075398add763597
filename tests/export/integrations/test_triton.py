"""export_onnx.py --for triton: the repository read with Triton's own schema, and the file in it."""

import importlib.metadata
import importlib.util
import shlex
import shutil

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format

from engines.__main__ import main as engines
from export import cli as command
from export.exporting import deployed_spec
from export.integrations import configuration, triton
from export.options import InputOptions
from prune.session import open_torch_model
from runtime.entry import guarded
from runtime.files.manifest import read_manifest, sha256
from runtime.images.preprocess import to_input
from tests.fakes import lite

NORMALISED = "(x / 255 - (0.5, 0.5, 0.5)) / (0.5, 0.5, 0.5)"


@pytest.fixture(scope="module")
def schema():
    """Triton's model_config, from the client's package by path: its __init__ wants grpcio, and that an older protobuf."""
    path = importlib.metadata.distribution("tritonclient").locate_file(
        "tritonclient/grpc/model_config_pb2.py"
    )
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(weights, crops, tmp_path_factory):
    out = tmp_path_factory.mktemp("healthy") / "people v1.onnx"
    assert run(weights, out, crops) == 0
    return out


def run(weights, out, crops, *more):
    words = [str(weights), "--out", str(out), "--check", str(crops), "--for", "triton", *more]
    return guarded(command.main, words)


def parsed(schema, out):
    """config.pbtxt beside `out`; a field that Triton does not have, or a value it does not take, raises."""
    name = triton.model_name(out)
    text = (triton.repository(out) / name / "config.pbtxt").read_text()
    return text_format.Parse(text, schema.ModelConfig())


def test_the_configuration_is_triton_s_own_and_describes_the_file(schema, exported):
    config = parsed(schema, exported)
    (image,), (features,) = config.input, config.output
    assert (config.name, config.platform, config.max_batch_size) == ("people_v1", "onnxruntime_onnx", 32)
    assert (image.name, schema.DataType.Name(image.data_type), list(image.dims)) == (
        "images",
        "TYPE_UINT8",
        [64, 32, 3],
    )
    dim = read_manifest(exported)["output"]["dim"]
    assert (features.name, schema.DataType.Name(features.data_type), list(features.dims)) == (
        "features",
        "TYPE_FP32",
        [dim],
    )
    assert config.HasField("dynamic_batching")
    assert [(group.count, group.kind) for group in config.instance_group] == [
        (1, schema.ModelInstanceGroup.KIND_AUTO)
    ]


def test_the_schema_refuses_what_triton_would(schema):
    with pytest.raises(text_format.ParseError):
        text_format.Parse("dynamic_batchin { }", schema.ModelConfig())


def test_onnx_runtime_agrees_with_the_configuration(schema, exported):
    """Triton checks names, types and dims (batch put first) against the model, and refuses to load on a difference."""
    config = parsed(schema, exported)
    model = triton.repository(exported) / config.name / "1" / "model.onnx"
    assert sha256(model) == read_manifest(exported)["sha256"]
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    kinds = {"TYPE_UINT8": "tensor(uint8)", "TYPE_FP32": "tensor(float)"}
    for declared, actual in (
        *zip(config.input, session.get_inputs(), strict=True),
        *zip(config.output, session.get_outputs(), strict=True),
    ):
        assert declared.name == actual.name
        assert kinds[schema.DataType.Name(declared.data_type)] == actual.type
        assert isinstance(actual.shape[0], str)
        assert list(declared.dims) == actual.shape[1:]


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_any_batch_gives_normalised_features_of_the_mean_camera(batch, weights, exported):
    parent, _ = open_torch_model(weights)
    crops = np.random.default_rng(batch).integers(0, 256, (batch, 64, 32, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(
        str(triton.repository(exported) / "people_v1/1/model.onnx"), providers=["CPUExecutionProvider"]
    )
    (features,) = session.run(["features"], {"images": crops})
    expected = parent.run(
        to_input(crops, parent.spec), np.full(batch, parent.spec.mean_camera, dtype=np.int64)
    )
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_a_plan_is_described_and_the_command_that_builds_it_is_one_of_ours(
    schema, weights, crops, tmp_path, capsys
):
    out = tmp_path / "m.onnx"
    assert run(weights, out, crops, "--target", "tensorrt", "--input", "float-nchw") == 0
    printed = capsys.readouterr().out
    config = parsed(schema, out)
    assert config.platform == "tensorrt_plan"
    assert config.instance_group[0].kind == schema.ModelInstanceGroup.KIND_GPU
    assert list(config.input[0].dims) == [3, 64, 32]
    assert config.input[0].data_type == schema.TYPE_FP32
    assert NORMALISED in (tmp_path / "m.triton/m/config.pbtxt").read_text()
    assert not list((tmp_path / "m.triton/m/1").iterdir())
    line = next(line for line in printed.splitlines() if "engines build" in line)
    words = shlex.split(line[line.index("python -m engines") :].split("   (")[0])
    assert engines([*words[3:], "--dry-run", "--tensorrt", "10.3"]) == 0
    built = capsys.readouterr().out
    assert f"--saveEngine={tmp_path / 'm.triton/m/1/model.plan'}" in built
    assert f"--maxShapes=images:{config.max_batch_size}x3x64x32" in built


def test_a_later_export_leaves_no_model_of_the_earlier_one(weights, crops, tmp_path):
    out = tmp_path / "m.onnx"
    assert run(weights, out, crops) == 0
    assert run(weights, out, crops, "--target", "tensorrt") == 0
    assert not (tmp_path / "m.triton/m/1/model.onnx").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--camera", "input"], "--camera input"),
        (["--batch", "4"], "--batch 4"),
    ],
)
def test_what_triton_cannot_send_is_refused(more, words, weights, crops, tmp_path, capsys):
    assert run(weights, tmp_path / "m.onnx", crops, *more) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_camera_s_cost_is_measured_on_the_model_s_own_data_set_only(weights, crops, tmp_path):
    spec = deployed_spec(lite.SPEC, InputOptions(integration="triton"))
    assert spec.camera == "mean"
    assert "not a data set" in configuration.camera_cost(weights, spec, crops)["reason"]
    root = tmp_path / "market"
    for folder, camera in (("query", 1), ("bounding_box_test", 2), ("bounding_box_train", 1)):
        (root / folder).mkdir(parents=True)
        for index in range(4):
            shutil.copy(crops / f"{index}.png", root / folder / f"000{index + 1}_c{camera}s1_000001_00.png")
    assert "not the data set" in configuration.camera_cost(weights, spec, root)["reason"]
    # anny.json makes it the data set that lite.SPEC names
    (root / "anny.json").write_text("{}")
    cost = configuration.camera_cost(weights, spec, root)
    assert cost["dataset"] == "anny"
    # every query's own picture is in the gallery, seen by another camera: with one camera row for all, the same feature
    assert cost["baked"] == 1.0
    assert 0 < cost["input"] <= 1.0


def test_the_cost_is_said_and_recorded(weights, crops, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        configuration, "camera_cost", lambda *_: {"dataset": "anny", "input": 0.9, "baked": 0.8875}
    )
    assert run(weights, tmp_path / "m.onnx", crops) == 0
    cost_line = "mean: mAP 88.75 % on anny instead of 90.00 % with --camera input (-1.25 points)"
    assert cost_line in capsys.readouterr().out
    assert cost_line in (tmp_path / "m.triton/m/config.pbtxt").read_text()
    kept = read_manifest(tmp_path / "m.onnx")["neighbour"]
    assert kept["for"] == "triton"
    assert kept["camera_cost"]["baked"] == 0.8875
