"""`python -m export adopt` end to end: what is written, what is refused and with which exit code."""

import dataclasses
import json

import numpy as np
import onnx
import pytest

from engines.trtexec.command import BuildRequest, trtexec_line
from export.__main__ import main
from export.adopting import graph as adopted_graph
from export.exporting import build_graph
from export.int8.groups import groups
from export.options import SHIPPED
from runtime.backends.onnxruntime import open_onnxruntime
from runtime.entry import guarded
from runtime.files.manifest import read_manifest, sha256
from runtime.images.decode import load_image
from runtime.images.preprocess import resize, to_input
from runtime.opening import open_artifact
from tests.fakes import foreign as fake
from tests.fakes import lite

BGR = ["--color", "bgr", "--mean", "0.3,0.4,0.5", "--std", "0.2,0.25,0.3"]
TRAINED = SHIPPED.parents[1] / "tests" / "data" / "adopt"
# The two trained networks, what their files take, and what a wrong statement about each of them is answered with.
OSNET, RESNET = TRAINED / "osnet_like.onnx", TRAINED / "resnet_like.onnx"


def run(path, out, check, *more):
    return guarded(main, ["adopt", str(path), "--out", str(out), "--check", str(check), *more])


@pytest.fixture
def path(tmp_path):
    return fake.write(tmp_path / "theirs.onnx")


def test_the_adopted_file_is_an_artifact_like_any_other(path, crops, tmp_path, capsys):
    out = tmp_path / "ours.onnx"
    assert run(path, out, crops, *BGR) == 0
    assert "no labels" in capsys.readouterr().err
    artifact = open_artifact(out)
    images = fake.crops(16)
    expected = fake.features(images, color="bgr", mean=(0.3, 0.4, 0.5), std=(0.2, 0.25, 0.3))
    assert np.abs(artifact.run(images) - expected).max() < 1e-5
    manifest = artifact.manifest
    assert manifest["kind"] == "onnx" and manifest["parent"] == sha256(path) and manifest["gate"]["passed"]
    assert manifest["adopted"]["comparison"] is None and manifest["adopted"]["pixels"]["color"] == "bgr"
    assert artifact.spec.layout == "uint8-nhwc" and artifact.dim == fake.DIM
    check = np.load(f"{out}.check.npz")
    assert (
        len(check["images"]) == 16 and np.abs(artifact.run(check["images"]) - check["features"]).max() < 1e-5
    )
    words = trtexec_line(manifest | {"target": "tensorrt"}, (10, 3), BuildRequest(out, tmp_path / "m.engine"))
    assert any("images:1x32x16x3" in word for word in words)


def test_a_batch_that_the_file_only_claims_is_one(path, crops, tmp_path, capsys):
    """The exporter wrote a dynamic batch, but an operator of the network holds the batch 1."""
    model = onnx.load(fake.write(path, batch=1, ending="token"))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, path)
    assert run(path, tmp_path / "ours.onnx", crops, *BGR) == 0
    assert "two crops" in capsys.readouterr().err
    ours = open_artifact(tmp_path / "ours.onnx").run(fake.crops(16))[:, :-1]
    expected = fake.features(fake.crops(16), color="bgr", mean=(0.3, 0.4, 0.5), std=(0.2, 0.25, 0.3))
    assert np.abs(ours - expected).max() < 1e-5


def test_json_is_one_document_and_the_name_of_the_file_has_a_default(path, crops, tmp_path, capsys):
    assert guarded(main, ["adopt", str(path), "--check", str(crops), "--json", *BGR]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sha256"] == sha256(tmp_path / "theirs.adopted.onnx")


@pytest.mark.parametrize(("precision", "target"), fake.CONVERSIONS)
def test_every_precision_passes_its_gate(precision, target, path, crops, tmp_path):
    out = tmp_path / "ours.onnx"
    words = ["--precision", precision, "--target", target, *BGR]
    assert run(path, out, crops, *words) == 0
    manifest = read_manifest(out)
    assert manifest["precision"] == precision and manifest["gate"]["passed"]
    quantised = "QuantizeLinear" in manifest["nodes"]["operators"]
    assert quantised == (precision == "int8")
    if quantised:
        rows = {row["group"] for row in manifest["sensitivity"]["rows"]}
        assert len(rows) == 3 and len(manifest["sensitivity"]["int8"]) >= 1


def test_layers_that_int8_harms_return_to_float(crops, tmp_path, capsys):
    """One input channel of the second convolution is so large that eight bits leave nothing of the others."""
    model = fake.model()
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).copy()
        if tensor.name in ("c1.w", "c1.b"):
            values[0] *= 3e4
        if tensor.name == "c2.w":
            values[:, 0] /= 3e4
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "theirs.onnx")
    out = tmp_path / "ours.onnx"
    assert run(tmp_path / "theirs.onnx", out, crops, "--precision", "int8", *BGR) == 0
    plan = read_manifest(out)["sensitivity"]
    assert plan["skip"] and "kept float" in capsys.readouterr().err
    assert read_manifest(out)["gate"]["passed"] and read_manifest(out)["precision"] == "int8"


@pytest.mark.parametrize(("path", "like"), [(OSNET, "osnet"), (RESNET, "omz")], ids=["osnet", "resnet"])
def test_a_trained_network_is_adopted_with_the_input_of_its_training(path, like, tmp_path, capsys):
    out = tmp_path / "ours.onnx"
    assert run(path, out, SHIPPED, "--like", like) == 0
    comparison = read_manifest(out)["adopted"]["comparison"]
    stated, *others = comparison["candidates"]
    assert len(others) == 7 and stated["mAP"] > max(other["mAP"] for other in others)
    assert (comparison["people"], stated["gain"]) == (60, 0) and all(other["high"] < 0 for other in others)
    assert f"{100 * stated['mAP']:.1f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "wrong", "word"),
    [
        (OSNET, ["--like", "osnet", "--color", "bgr"], "--color rgb --range 1 --mean 0.485,0.456,0.406"),
        (RESNET, ["--like", "omz", "--color", "rgb"], "--color bgr --range 255 --mean 0 --std 1"),
        (RESNET, ["--like", "osnet"], "nearly equal"),
    ],
    ids=["osnet colour", "resnet colour", "resnet range"],
)
def test_a_wrong_input_of_a_trained_network_is_refused(path, wrong, word, tmp_path, capsys):
    assert run(path, tmp_path / "ours.onnx", SHIPPED, *wrong) == 7
    assert word in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_without_labelled_crops_of_the_user_a_better_input_is_a_warning(tmp_path, capsys):
    words = ["adopt", str(RESNET), "--out", str(tmp_path / "ours.onnx"), "--like", "omz", "--color", "rgb"]
    assert guarded(main, words) == 0
    assert "--color bgr" not in capsys.readouterr().out
    assert open_artifact(tmp_path / "ours.onnx").dim == 128


def test_features_that_are_all_equal_are_refused(crops, tmp_path, capsys):
    model = fake.model()
    for tensor in model.graph.initializer:
        if tensor.name == "fc.w":
            small = onnx.numpy_helper.to_array(tensor) * 1e-4
            tensor.CopyFrom(onnx.numpy_helper.from_array(small.astype(np.float32), tensor.name))
    onnx.save(model, tmp_path / "theirs.onnx")
    out = tmp_path / "ours.onnx"
    out.write_bytes(b"an older file")
    assert run(tmp_path / "theirs.onnx", out, crops, *BGR) == 7
    assert "nearly equal" in capsys.readouterr().err and not out.exists()


def test_a_fault_in_the_folded_input_is_caught_by_the_gate(path, crops, tmp_path, monkeypatch, capsys):
    wrong = lambda foreign, pixels, target: real(foreign, dataclasses.replace(pixels, color="rgb"), target)  # noqa: E731
    real = adopted_graph._pixel_nodes
    monkeypatch.setattr(adopted_graph, "_pixel_nodes", wrong)
    assert run(path, tmp_path / "ours.onnx", crops, *BGR) == 7
    assert "cosine" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["theirs.onnx"]
    assert run(path, tmp_path / "ours.onnx", crops, "--gate", "off", *BGR) == 0
    assert "WARNING --gate off" in capsys.readouterr().err
    assert read_manifest(tmp_path / "ours.onnx")["gate"]["passed"] is None


def test_a_batch_inside_the_operators_is_kept_and_said(crops, tmp_path, capsys):
    mixed = fake.write(tmp_path / "theirs.onnx", batch=1, ending="mixed")
    assert run(mixed, tmp_path / "ours.onnx", crops, *BGR) == 0
    assert "batch 1" in capsys.readouterr().err
    artifact = open_artifact(tmp_path / "ours.onnx")
    assert artifact.spec.batch == 1 and artifact.run(fake.crops(3)).shape == (3, fake.DIM)


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        ([], 2, "--like"),
        ([*BGR, "--size", "64x32"], 2, "--size"),
        ([*BGR, "--size", "tall"], 2, "--size"),
        ([*BGR, "--batch", "0"], 2, "--batch"),
        ([*BGR, "--output-name", "logits"], 2, "features"),
        ([*BGR, "--check-count", "2"], 2, "--check-count"),
    ],
)
def test_wrong_options_are_one_line(options, code, word, path, crops, tmp_path, capsys):
    assert run(path, tmp_path / "ours.onnx", crops, *options) == code
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1 and not (tmp_path / "ours.onnx").exists()


@pytest.mark.parametrize("name", [".", "..", "ours.onnx.json", "model.textproto"])
def test_what_is_no_onnx_file_is_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ours.onnx.json").write_text('{"kind": "onnx"}')
    (tmp_path / "model.textproto").write_text("ir_version: 8")
    assert guarded(main, ["adopt", name, *BGR]) == 4
    error = capsys.readouterr().err
    assert "ONNX file" in error and error.count("\n") == 1


def test_the_original_is_never_written_over(path, crops, capsys):
    before = sha256(path)
    assert run(path, path, crops, *BGR) == 2
    assert "--out" in capsys.readouterr().err and sha256(path) == before


def test_a_model_that_takes_uint8_is_given_no_mean(crops, tmp_path, capsys):
    path = fake.write(tmp_path / "theirs.onnx", kind="uint8")
    assert run(path, tmp_path / "ours.onnx", crops, *BGR) == 2
    assert "--range 255" in capsys.readouterr().err
    raw = ["--color", "rgb", "--range", "255", "--mean", "0", "--std", "1"]
    assert run(path, tmp_path / "ours.onnx", crops, *raw) == 0


def test_an_output_as_wide_as_a_training_set_is_doubted(crops, tmp_path, capsys):
    model = fake.model()
    for tensor in model.graph.initializer:
        if tensor.name.startswith("fc."):
            wide = np.resize(np.random.default_rng(0).normal(size=751 * 128), (751, *tensor.dims[1:]))
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide.astype(np.float32), tensor.name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 751
    onnx.save(model, tmp_path / "theirs.onnx")
    assert run(tmp_path / "theirs.onnx", tmp_path / "ours.onnx", crops, *BGR) == 0
    assert "market1501" in capsys.readouterr().err


def test_our_own_float_export_without_a_manifest_keeps_its_features(tmp_path):
    spec = dataclasses.replace(lite.SPEC, camera="mean")
    bare = build_graph(lite.shallow(lite.pruned()), spec, "folded")[0]
    onnx.save(bare, tmp_path / "theirs.onnx")
    words = ["--color", "rgb", "--mean", "0.5", "--std", "0.5", "--interpolation", "bicubic"]
    assert run(tmp_path / "theirs.onnx", tmp_path / "ours.onnx", SHIPPED / "twins", *words) == 0
    images = np.stack(
        [resize(load_image(file), spec) for file in sorted((SHIPPED / "twins").glob("*.jpg"))[:20]]
    )
    before = open_onnxruntime(tmp_path / "theirs.onnx", spec)(to_input(images, spec))
    assert np.abs(open_artifact(tmp_path / "ours.onnx").run(images) - before).max() < 1e-5
    # transformers have the groups of our own exports
    assert "block0.qkv" in groups(onnx.load(tmp_path / "ours.onnx"))
