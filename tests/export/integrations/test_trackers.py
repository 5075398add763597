"""export_onnx.py --for ultralytics and --for boxmot: what each feeds gives our features, and the cost of its crops is measured."""

import contextlib
import functools
import io
import json
import shlex
import shutil

import numpy as np
import onnxruntime
import pytest
import yaml
from PIL import Image

from engines.__main__ import main as engines
from export import cli as command
from export.integrations import crop_cost
from export.integrations.crops import ultralytics_corners
from prune.session import open_torch_model
from runtime import open_model
from runtime.entry import guarded
from runtime.files.manifest import read_manifest
from runtime.images.preprocess import to_input

TRACKERS = ("ultralytics", "boxmot")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, crops):
    """Four people, each with one query and, from another camera, a slightly changed image in the gallery."""
    root, random = tmp_path_factory.mktemp("labelled") / "market", np.random.default_rng(1)
    for folder in ("query", "bounding_box_test", "bounding_box_train"):
        (root / folder).mkdir(parents=True)
    for index in range(4):
        source = crops / f"{index}.png"
        name = f"000{index + 1}_c{{}}s1_000001_00.png"
        shutil.copy(source, root / "query" / name.format(1))
        shutil.copy(source, root / "bounding_box_train" / name.format(1))
        pixels = np.asarray(Image.open(source)).astype(int) + random.integers(-20, 21, (64, 32, 3))
        changed = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        changed.save(root / "bounding_box_test" / name.format(2))
    return root


def run(tracker, weights, out, check, *more):
    words = [str(weights), "--out", str(out), "--check", str(check), "--for", tracker, *more]
    return guarded(command.main, words)


@pytest.fixture(scope="module")
def exported(weights, dataset, tmp_path_factory):
    """A function: tracker -> (the exported file, what the command printed); each file is exported once."""

    @functools.cache
    def export(tracker):
        out, printed = tmp_path_factory.mktemp("exported") / 'a "b" ü.onnx', io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert run(tracker, weights, out, dataset) == 0
        return out, printed.getvalue()

    return export


def as_sent(tracker, frames):
    """(B, H, W, 3) uint8 RGB -> what the tracker feeds, written from its documentation, not from our preprocessing."""
    scaled = frames.transpose(0, 3, 1, 2).astype(np.float64) / 255
    if tracker == "boxmot":
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        scaled = (scaled - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    return scaled.astype(np.float32)


def features_of(out, images):
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@pytest.mark.parametrize("tracker", TRACKERS)
def test_what_the_tracker_sends_gives_our_features(tracker, weights, exported):
    out, _ = exported(tracker)
    frames = np.random.default_rng(1).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (image,), (output,) = session.get_inputs(), session.get_outputs()
    # Ultralytics takes the crop size from the static height and width; both take any number of people
    assert (image.name, image.type, image.shape[1:]) == ("images", "tensor(float)", [3, 64, 32])
    assert isinstance(image.shape[0], str) and output.type == "tensor(float)"
    features = features_of(out, as_sent(tracker, frames))
    parent, _ = open_torch_model(weights)
    expected = parent.run(to_input(frames, parent.spec), np.full(5, parent.spec.mean_camera, dtype=np.int64))
    np.testing.assert_allclose(features, expected, atol=1e-4)
    assert (features * expected).sum(axis=1).min() >= 0.999999
    # our own runtime opens the same file by its manifest
    np.testing.assert_allclose(open_model(out).embed(frames, color="rgb"), features, atol=1e-5)
    # the pixels of the other tracker would be noticed
    (other,) = set(TRACKERS) - {tracker}
    assert (features * features_of(out, as_sent(other, frames))).sum(axis=1).min() < 0.999


def test_the_precision_can_be_fp16(weights, exported, crops, tmp_path):
    out = tmp_path / "m.onnx"
    more = ("--precision", "fp16", "--calibration", str(crops))
    assert run("boxmot", weights, out, crops, *more) == 0
    assert read_manifest(out)["precision"] == "fp16"
    frames = np.random.default_rng(1).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)
    half, full = (features_of(path, as_sent("boxmot", frames)) for path in (out, exported("boxmot")[0]))
    assert half.dtype == np.float32 and (half * full).sum(axis=1).min() >= 0.999
    # without labels, the cost of the crops cannot be measured
    assert "labels" in read_manifest(out)["neighbour"]["crop_cost"]["reason"]


def test_ultralytics_gets_a_complete_tracker_configuration(exported):
    out, printed = exported("ultralytics")
    text = out.with_suffix(".ultralytics.yaml").read_text()
    settings = yaml.safe_load(text)
    assert settings["model"] == str(out.resolve()) and settings["with_reid"] is True
    assert settings["tracker_type"] == "botsort" and len(settings) == 12
    assert read_manifest(out)["sha256"] in text
    assert str(out.with_suffix(".ultralytics.yaml")) in printed


def test_boxmot_gets_its_metadata(exported):
    out, _ = exported("boxmot")
    metadata = json.loads(out.with_name(f"{out.name}.metadata.json").read_text())
    assert (metadata["schema_version"], metadata["model_kwargs_schema_version"]) == (1, 1)
    assert metadata["img_size"] == metadata["model_kwargs"]["img_size"] == [64, 32]
    assert metadata["preprocess"] == "resize"
    assert metadata["source_sha256"] == read_manifest(out)["sha256"]


def test_an_engine_for_boxmot_gets_metadata_and_the_command_that_builds_it(weights, crops, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    more = ("--target", "tensorrt", "--gate", "off")
    assert run("boxmot", weights, out, crops, *more) == 0
    assert json.loads((tmp_path / "m.engine.metadata.json").read_text())["img_size"] == [64, 32]
    line = next(line for line in capsys.readouterr().out.splitlines() if "engines build" in line)
    words = shlex.split(line[line.index("python -m engines") :].split("   (")[0])
    assert engines([*words[3:], "--dry-run", "--tensorrt", "10.3"]) == 0
    assert f"--saveEngine={tmp_path / 'm.engine'}" in capsys.readouterr().out
    assert "--gate off" in read_manifest(out)["neighbour"]["crop_cost"]["reason"]


@pytest.mark.parametrize(
    ("tracker", "out", "more", "word"),
    [
        ("ultralytics", "m.onnx", ["--target", "tensorrt"], "224"),
        ("ultralytics", "m.onnx", ["--input", "uint8-nhwc"], "float-nchw"),
        ("ultralytics", "m.pt", [], ".onnx"),
        ("boxmot", "m.model", [], ".onnx"),
        ("boxmot", "m.onnx", ["--camera", "input"], "--camera input"),
        ("boxmot", "m.onnx", ["--batch", "4"], "--batch 4"),
    ],
)
def test_what_a_tracker_cannot_use_is_refused(tracker, out, more, word, weights, crops, tmp_path, capsys):
    assert run(tracker, weights, tmp_path / out, crops, *more) == 2
    assert word in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tracker", TRACKERS)
def test_the_cost_of_the_tracker_s_crops_is_printed_and_recorded(tracker, exported):
    out, printed = exported(tracker)
    cost = read_manifest(out)["neighbour"]["crop_cost"]
    assert (cost["dataset"], cost["height"]) == ("market1501", 384)
    assert all(0 < cost[key] <= 1 for key in ("ours", "tracker", "mixed"))
    assert f"mAP {100 * cost['tracker']:.2f} %" in printed


def test_a_data_set_without_matches_costs_no_export(weights, dataset, tmp_path):
    """The mAP cannot be measured, but the file has passed its gate and gets its configuration."""
    root = tmp_path / "market"
    shutil.copytree(dataset, root)
    for path in (root / "bounding_box_test").iterdir():
        path.rename(path.with_name(path.name.replace("000", "001", 1)))
    out = tmp_path / "m.onnx"
    assert run("ultralytics", weights, out, root) == 0
    assert "match" in read_manifest(out)["neighbour"]["crop_cost"]["reason"]
    assert out.with_suffix(".ultralytics.yaml").is_file()


def test_crops_that_ruin_the_image_cost_map(exported, dataset, monkeypatch):
    """A tracker that feeds noise gets a lower mAP than our crops of the same images, so a cost can be seen."""
    out, _ = exported("boxmot")
    random = np.random.default_rng(0)
    monkeypatch.setitem(
        crop_cost.CROPS,
        "boxmot",
        lambda frame, box, size: random.standard_normal((3, *size)).astype(np.float32),
    )
    cost = crop_cost.crop_cost("boxmot", out, open_model(out).artifact.spec, dataset)
    assert cost["ours"] == 1.0 and cost["tracker"] < 1.0


@pytest.mark.parametrize("shape", [(64, 32), (128, 64), (500, 200), (900, 300)])
def test_the_margin_of_an_image_lies_inside_its_border(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    frame, box = crop_cost.surrounded(image)
    left, top, right, bottom = box
    assert bottom - top == max(shape[0], 384)
    assert (right - left) / (bottom - top) == pytest.approx(shape[1] / shape[0], abs=0.01)
    corners = ultralytics_corners(box, frame.shape)
    assert 0 < corners[0] < left and 0 < corners[1] < top
    assert right < corners[2] < frame.shape[1] and bottom < corners[3] < frame.shape[0]
    # the border repeats the outermost pixels
    assert (frame[:top, left:right] == frame[top, left:right]).all()
