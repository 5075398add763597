"""export_onnx.py --for deepstream: its numbers, applied as DeepStream applies them, give our features."""

import dataclasses
import shlex
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import yaml

from engines.__main__ import main as engines
from export import cli as command
from export.integrations import deepstream
from prune.model.file import save_model
from prune.session import open_torch_model
from runtime.entry import guarded
from runtime.files.manifest import read_manifest
from runtime.images.preprocess import to_input
from runtime.opening import open_artifact
from tests.fakes import lite

# one scale for all channels, as TransReID has it; and ImageNet's, which one net-scale-factor cannot express
NORMALISATIONS = {
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def saved(folder, normalisation):
    mean, std = NORMALISATIONS[normalisation]
    path = folder / "model.safetensors"
    save_model(lite.pruned(), path, dataclasses.replace(lite.SPEC, mean=mean, std=std))
    return path


def run(weights, out, crops, *more):
    words = [str(weights), "--out", str(out), "--check", str(crops), "--for", "deepstream", *more]
    return guarded(command.main, words)


def block(out):
    return document(out)["ReID"]


def document(out):
    return yaml.safe_load(out.with_suffix(".deepstream.yaml").read_text())


def as_deepstream_sends(frames, reid):
    """(B, H, W, 3) uint8 RGB -> what nvtracker feeds: y = netScaleFactor (x - offset), planes first, float32.

    Written from the documentation of the block's fields, not from our preprocessing.
    """
    planes = np.stack(
        [
            np.float32(reid["netScaleFactor"])
            * (frames[..., channel].astype(np.float32) - np.float32(reid["offsets"][channel]))
            for channel in range(3)
        ],
        axis=1,
    )
    assert planes.shape[1:] == tuple(reid["inferDims"])
    return planes


@pytest.mark.parametrize("form", ["folded", "reference"])
@pytest.mark.parametrize("normalisation", sorted(NORMALISATIONS))
def test_its_numbers_on_raw_crops_give_our_features(normalisation, form, crops, tmp_path, capsys):
    weights, out = saved(tmp_path, normalisation), tmp_path / "m.onnx"
    assert run(weights, out, crops, "--form", form) == 0
    reid = block(out)
    frames = np.random.default_rng(1).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (features,) = session.run(None, {session.get_inputs()[0].name: as_deepstream_sends(frames, reid)})
    parent, _ = open_torch_model(weights)
    expected = parent.run(to_input(frames, parent.spec), np.full(5, parent.spec.mean_camera, dtype=np.int64))
    assert np.abs(features - expected).max() <= 1e-4
    # the tracker is told not to normalise, and to expect so many numbers
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert features.shape == (5, reid["reidFeatureSize"])
    assert reid["addFeatureNormalization"] == 0
    # our own runtime reads the same file by its manifest
    ours = open_artifact(out)
    np.testing.assert_allclose(ours.run(to_input(frames, ours.spec)), expected, atol=1e-4)


def test_wrong_numbers_would_be_noticed(crops, tmp_path):
    """The tolerance above is not so wide that a neighbouring convention passes."""
    weights, out = saved(tmp_path, "imagenet"), tmp_path / "m.onnx"
    assert run(weights, out, crops) == 0
    frames = np.random.default_rng(1).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    right = session.run(None, {"images": as_deepstream_sends(frames, block(out))})[0]
    for wrong in ({"netScaleFactor": 0.00784314}, {"offsets": [127.5, 127.5, 127.5]}):
        features = session.run(None, {"images": as_deepstream_sends(frames, block(out) | wrong)})[0]
        assert np.abs(features - right).max() > 1e-4
    assert (
        np.abs(
            session.run(None, {"images": as_deepstream_sends(frames[..., ::-1], block(out))})[0] - right
        ).max()
        > 1e-2
    )


def test_transreid_s_own_normalisation_is_nvidia_s_known_pair():
    """127.5 and 1/127.5, the pair that public nvtracker configurations hold for mean and std 0.5."""
    assert deepstream.scaling(lite.SPEC) == ([127.5, 127.5, 127.5], pytest.approx(0.00784314, abs=5e-9))


def test_the_block_is_complete_and_says_what_the_file_is(crops, tmp_path, capsys):
    weights, out = saved(tmp_path, "half"), tmp_path / "m.onnx"
    assert run(weights, out, crops, "--precision", "fp16", "--calibration", str(crops)) == 0
    reid, manifest = block(out), read_manifest(out)
    assert set(reid) >= {
        "reidType",
        "onnxFile",
        "modelEngineFile",
        "batchSize",
        "reidFeatureSize",
        "inferDims",
        "networkMode",
        "inputOrder",
        "colorFormat",
        "offsets",
        "netScaleFactor",
        "keepAspc",
    }
    # nvtracker before 9.2 opens other paths relative to wherever its process was started
    assert reid["onnxFile"] == str(out.resolve()) and reid["modelEngineFile"].startswith(f"{out.resolve()}_b")
    assert "absolute" in out.with_suffix(".deepstream.yaml").read_text()
    assert (Path(reid["onnxFile"]).name, reid["networkMode"], reid["inputOrder"], reid["colorFormat"]) == (
        "m.onnx",
        1,
        0,
        0,
    )
    assert (manifest["target"], manifest["input"]["camera"]) == ("tensorrt", "mean")
    assert manifest["sha256"] in out.with_suffix(".deepstream.yaml").read_text()
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (image,), (features,) = session.get_inputs(), session.get_outputs()
    assert (image.type, features.type) == ("tensor(float)", "tensor(float)")
    assert isinstance(image.shape[0], str)
    line = next(line for line in capsys.readouterr().out.splitlines() if "engines build" in line)
    words = shlex.split(line[line.index("python -m engines") :].split("   (")[0])
    assert engines([*words[3:], "--dry-run", "--tensorrt", "10.3"]) == 0
    built = capsys.readouterr().out
    assert f"--saveEngine={reid['modelEngineFile']}" in built
    assert f"--maxShapes=images:{reid['batchSize']}x3x64x32" in built


@pytest.mark.parametrize("folder", ["a b", "it's #1: ü", 'say "x"', "[1, 2]"])
def test_a_path_of_any_characters_is_one_string_of_the_yaml(folder, tmp_path):
    manifest = {"input": lite.SPEC.to_json(), "precision": "fp16", "output": {"dim": 8}, "sha256": "0"}
    (tmp_path / folder).mkdir()
    path, command = deepstream.write_configuration(tmp_path / folder / "m.onnx", manifest, [])
    written = yaml.safe_load(path.read_text())
    assert written["ReID"]["onnxFile"] == str(tmp_path / folder / "m.onnx")
    # the engine is built where the tracker looks for it
    assert shlex.split(command.split("   (")[0])[6] == written["ReID"]["modelEngineFile"]


def test_the_keys_of_re_association_stand_in_their_own_block(tmp_path):
    manifest = {"input": lite.SPEC.to_json(), "precision": "fp32", "output": {"dim": 8}, "sha256": "0"}
    path, _ = deepstream.write_configuration(tmp_path / "m.onnx", manifest, [])
    keys = yaml.safe_load(path.read_text())["TrajectoryManagement"]
    assert keys["enableReAssoc"] == 1 and keys["reidExtractionInterval"] >= -1
    assert (
        0 <= keys["minMatchingScore4ReidSimilarity"] <= 1
        and 0 < keys["matchingScoreWeight4ReidSimilarity"] <= 1
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--input", "uint8-nhwc"], "--for deepstream sends float-nchw"),
        (["--camera", "input"], "--camera input"),
        (["--batch", "4"], "--batch 4"),
        (["--precision", "int8"], "calibration table"),
    ],
)
def test_what_deepstream_cannot_do_is_refused(more, words, crops, tmp_path, capsys):
    weights, out = saved(tmp_path, "half"), tmp_path / "m.onnx"
    assert run(weights, out, crops, *more) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()
