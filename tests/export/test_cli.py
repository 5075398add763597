"""export_onnx.py end to end on a small model: the file, its manifest, and a gate that can fail."""

import dataclasses
import shutil
import signal

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from export import cli as command
from export import exporting
from export.check import check_crops
from export.forms import Folded
from export.graph import prove_static, to_onnx
from export.options import SHIPPED
from prune.model.file import save_model
from runtime.entry import guarded
from runtime.errors import ArtifactError, DataError, GateError
from runtime.files.manifest import read_manifest, sha256
from runtime.opening import open_artifact
from runtime.stopping import Stopped
from tests.fakes import lite
from tests.fakes.pictures import write_crops

# as many cameras as the people that ship with the project were seen by
SPEC = dataclasses.replace(lite.SPEC, cameras=4)


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Twelve smooth random images in a folder whose file names carry no identities."""
    return write_crops(tmp_path_factory.mktemp("crops"), 12)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(lite.shallow(lite.pruned(cameras=4)), path, SPEC)
    return path


@pytest.fixture(scope="module")
def exported(weights, crops, tmp_path_factory):
    """A healthy export, made once."""
    out = tmp_path_factory.mktemp("healthy") / "m.onnx"
    assert run(weights, out, crops) == 0
    return out


def run(weights, out, crops, *more):
    return guarded(command.main, [str(weights), "--out", str(out), "--check", str(crops), *more])


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--input", "float-nchw", "--batch", "2", "--camera", "mean"],
        # as many images as the JPM has local groups: nothing may take the one for the other
        ["--batch", "4"],
        ["--camera", "1", "--form", "reference"],
        # one at a time what stands together above
        *(
            pytest.param(options, marks=pytest.mark.full)
            for options in (["--form", "reference"], ["--input", "float-nchw"], ["--camera", "mean"])
        ),
    ],
)
def test_exports_run_and_equal_the_torch_model(options, weights, crops, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    assert run(weights, out, crops, *options) == 0, capsys.readouterr().err
    artifact = open_artifact(out)
    assert artifact.manifest["gate"]["passed"] and artifact.manifest["gate"]["numbers"]["images"] == 12
    assert artifact.manifest["gate"]["numbers"]["difference_max"] < 1e-5
    assert artifact.manifest["parent"] == sha256(weights)
    check = np.load(f"{out}.check.npz")
    assert artifact.manifest["check"]["sha256"] == sha256(f"{out}.check.npz")
    assert np.allclose(np.linalg.norm(check["features"], axis=1), 1, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.check.npz", "m.onnx.json"]


def test_the_graph_is_one_static_file(exported):
    model = onnx.load(exported, load_external_data=False)
    counts = prove_static(model)
    # 2 blocks and 2 branches, two norms each, and the branches' final norms; fp32 norms stay native
    assert counts["LayerNormalization"] == 2 * 2 + 2 * 3
    assert model.opset_import[0].version >= 17
    inputs = {value.name: value.type.tensor_type for value in model.graph.input}
    assert inputs["images"].elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_param or dim.dim_value for dim in inputs["images"].shape.dim] == ["batch", 64, 32, 3]


@pytest.mark.parametrize("operator", ["NonZero", "If", "Where"])
def test_a_dynamic_operator_is_not_called_static(operator, exported):
    model = onnx.load(exported)
    model.graph.node.append(onnx.helper.make_node(operator, ["images"], ["surprise"], name="x"))
    with pytest.raises(ArtifactError, match=operator):
        prove_static(model)


def test_a_data_dependent_shape_is_not_called_static(exported):
    """Reshape to a shape that is computed from the pixels: an allowed operator, an unknown size."""
    model = onnx.load(exported)
    one_element = onnx.helper.make_tensor("one", onnx.TensorProto.INT64, [1], [1])
    model.graph.initializer.append(one_element)
    model.graph.node.extend(
        [
            onnx.helper.make_node("Cast", ["images"], ["c"], to=onnx.TensorProto.INT64),
            onnx.helper.make_node("ReduceMax", ["c"], ["most"], keepdims=0),
            onnx.helper.make_node("Reshape", ["most", "one"], ["size"]),
            onnx.helper.make_node("ConstantOfShape", ["size"], ["surprise"], name="data-dependent"),
        ]
    )
    with pytest.raises(ArtifactError, match="unknown shape"):
        prove_static(model)


def normalised_twice(model, spec):
    """The most reported re-ID export bug: pixels scaled although the graph scales them too."""
    form = Folded(model, spec)
    form.patch.proj.weight.data /= 255
    return form


def swapped_tokens(model, spec):
    """Two of a block's kept tokens trade places with two that are skipped."""
    form = Folded(model, spec)
    block = next(block for block in form.blocks if getattr(block, "gather", None) is not None)
    gather, kept = block.gather.clone(), block.kept
    gather[[1, kept]] = gather[[kept, 1]]
    block.gather = gather
    return form


def one_nan(model, spec):
    form = Folded(model, spec)
    form.table[0, 3, 5] = torch.nan
    return form


@pytest.mark.parametrize(
    ("fault", "words"),
    [(normalised_twice, "cosine"), (swapped_tokens, "cosine"), (one_nan, "NaN")],
)
def test_each_planted_fault_is_caught_and_only_by_the_gate(
    fault, words, weights, exported, crops, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "m.onnx"
    for suffix in ("", ".json", ".check.npz"):
        shutil.copy(f"{exported}{suffix}", f"{out}{suffix}")
    assert open_artifact(out).manifest["gate"]["passed"]
    monkeypatch.setitem(exporting.FORMS, "folded", fault)
    assert run(weights, out, crops) == 7
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error
    # neither the bad file nor the one that stood there before
    assert not list(tmp_path.iterdir())
    assert run(weights, out, crops, "--gate", "off") == 0
    assert "WARNING --gate off" in capsys.readouterr().err
    assert read_manifest(out)["gate"] == {"off": True, "passed": None}
    with pytest.raises(ArtifactError, match="allow_ungated"):
        open_artifact(out)
    assert open_artifact(out, allow_ungated=True).dim == 960


def test_nan_weights_never_get_as_far_as_a_graph(tmp_path, crops):
    with pytest.raises(GateError, match="not finite"):
        broken = lite.pruned()
        broken.b1[1].weight.data[0] = torch.nan
        save_model(broken, tmp_path / "m.safetensors", lite.SPEC)


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--camera", "7"], 2, "cameras 0..3"),
        (["--batch", "0"], 2, "--batch 0"),
        (["--check-count", "-1"], 2, "--check-count -1"),
        (["--max-map-drop", "nan"], 2, "--max-map-drop nan"),
        (["--max-map-drop", "1", "--gate", "off"], 2, "--gate off"),
        (["--check", "nowhere"], 3, "nowhere"),
    ],
)
def test_bad_requests_are_one_line_and_cost_nothing(more, code, words, weights, crops, tmp_path, capsys):
    (tmp_path / "m.onnx").write_bytes(b"an earlier artifact")
    assert run(weights, tmp_path / "m.onnx", crops, *more) == code
    assert (tmp_path / "m.onnx").read_bytes() == b"an earlier artifact"
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error[{code}]") and words in error


def test_the_model_itself_is_never_the_output(weights, crops, capsys):
    before = weights.read_bytes()
    assert run(weights, weights, crops, "--gate", "off") == 2
    assert weights.read_bytes() == before and "not the model itself" in capsys.readouterr().err


def test_a_model_without_cameras_refuses_a_camera(crops, tmp_path, capsys):
    spec = lite.SPEC.from_json(lite.SPEC.to_json() | {"camera": "none", "cameras": 0})
    save_model(lite.shallow(lite.pruned(cameras=0)), tmp_path / "m.safetensors", spec)
    assert run(tmp_path / "m.safetensors", tmp_path / "m.onnx", crops, "--camera", "mean") == 2
    assert "no camera embedding" in capsys.readouterr().err
    assert run(tmp_path / "m.safetensors", tmp_path / "m.onnx", crops) == 0
    assert open_artifact(tmp_path / "m.onnx").spec.camera == "none"


def test_unreadable_check_images_are_counted_and_left_out_until_too_few_are_left(tmp_path, capsys):
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"torn")
    with pytest.raises(DataError, match="only 0 "):
        check_crops(tmp_path, lite.SPEC)
    for index in range(3):
        Image.new("RGB", (16, 32)).save(tmp_path / f"good{index}.png")
    capsys.readouterr()
    assert len(check_crops(tmp_path, lite.SPEC)) == 3
    err = capsys.readouterr().err
    assert "3 of 6 images" in err and "0.png" in err


@pytest.mark.parametrize(("limit", "code"), [("0.5", 0), ("-1", 7)])
def test_the_gate_can_ask_for_map_too(limit, code, weights, tmp_path, capsys):
    """-1: the artifact would have to be a point better than its parent."""
    more = ["--check-count", "8", "--max-map-drop", limit]
    assert run(weights, tmp_path / "m.onnx", SHIPPED, *more) == code
    if code:
        assert "mAP drops by" in capsys.readouterr().err and not (tmp_path / "m.onnx").exists()
    else:
        scores = read_manifest(tmp_path / "m.onnx")["gate"]["map"]
        assert 0 < scores["parent"] < 1 and abs(scores["drop"]) < 0.5


def test_shipped_crops_are_the_default_check():
    assert check_crops(SHIPPED, lite.SPEC, 5).shape == (5, 64, 32, 3)


def test_reexporting_gives_the_same_graph(weights, exported, crops, tmp_path, monkeypatch):
    """Determinism: the manifest's hash identifies the model, not the run."""
    # a trace of its own
    monkeypatch.setattr(exporting, "to_onnx", to_onnx)
    run(weights, tmp_path / "m.onnx", crops)
    assert read_manifest(tmp_path / "m.onnx")["sha256"] == read_manifest(exported)["sha256"]


def test_a_stopped_export_leaves_the_older_files_as_they_were(
    exported, weights, crops, monkeypatch, tmp_path
):
    out = tmp_path / "m.onnx"
    for path in exported.parent.glob("m.onnx*"):
        shutil.copy(path, tmp_path / path.name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 3

    def stops(*_, **__):
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(exporting, "_verdict", stops)
    assert run(weights, out, crops) == 143
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
