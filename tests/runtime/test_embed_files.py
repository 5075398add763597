"""`Model.embed_files` is `python -m runtime extract` as a call: the same features, presets and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runtime import ConfigError, DataError, TooManyBad, load_features, open_model
from runtime.__main__ import main
from runtime.entry import guarded
from runtime.extraction import preset
from runtime.spec import InputSpec
from tests.fakes.tiny_model import write_model

ROOT = Path(__file__).resolve().parents[2]
QUERY = sorted((ROOT / "data/anny_reid/query").glob("*.jpg"))[:7]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Images of a query folder, and one that cannot be used."""
    made = tmp_path / "images"
    made.mkdir()
    for path in QUERY:
        (made / path.name).write_bytes(path.read_bytes())
    (made / "9999_c1s1_000000_00.jpg").write_bytes(b"no image")
    return made


@pytest.mark.parametrize("name", [None, "latency", "throughput"])
def test_files_have_the_features_that_the_command_writes(tmp_path, folder, monkeypatch, capsys, name):
    monkeypatch.setattr(preset, "usable_cores", lambda: 2)
    path, out = write_model(tmp_path / "m.onnx"), tmp_path / "f.npz"
    words = [
        "extract",
        path,
        folder,
        "--out",
        out,
        "--max-bad",
        0.2,
        "--json",
        *(["--preset", name] if name else []),
    ]
    assert guarded(main, [str(word) for word in words]) == 0
    written, summary = load_features(out), json.loads(capsys.readouterr().out)
    model = open_model(path, preset=name)
    steps = []
    features = model.embed_files(folder, max_bad=0.2, progress=steps.append)
    assert np.array_equal(features.features, written.features)
    for field in ("paths", "images", "model", "layout", "camera", "backend"):
        assert getattr(features, field) == getattr(written, field)
    assert [Path(image.path).name for image in features.skipped] == ["9999_c1s1_000000_00.jpg"]
    assert sum(steps) == len(QUERY) + 1 == summary["images"] + summary["skipped"]
    assert model.batch == {None: 16, "latency": 1, "throughput": preset.BATCH}[name]


def test_files_of_a_data_set_get_its_layout_and_cameras(tmp_path):
    spec = InputSpec(height=32, width=16, camera="input", cameras=4, dataset="anny")
    model = open_model(write_model(tmp_path / "m.onnx", spec))
    features = model.embed_files(ROOT / "data/anny_reid/query")
    assert (features.layout, features.camera) == ("anny", "input") and len(features.paths) == 120
    loose = model.embed_files(QUERY[0])
    assert (loose.layout, loose.camera) == (None, "mean") and any("camera" in note for note in loose.notes)
    assert model.embed_files(QUERY[0], camera=2).camera == "2"
    for wrong in (4, -1, "front"):
        with pytest.raises(ConfigError, match="camera"):
            model.embed_files(QUERY[0], camera=wrong)


def test_too_many_unusable_files_are_refused_and_the_others_kept(tmp_path, folder):
    model = open_model(write_model(tmp_path / "m.onnx"))
    with pytest.raises(TooManyBad) as refusal:
        model.embed_files(folder)
    assert refusal.value.code == 3 and len(refusal.value.features.paths) == len(QUERY)
    with pytest.raises(DataError, match="nowhere"):
        model.embed_files(folder / "nowhere")


def test_a_model_of_the_throughput_preset_takes_no_arrays(tmp_path):
    model = open_model(write_model(tmp_path / "m.onnx"), preset="throughput")
    with pytest.raises(ConfigError, match="embed_files"):
        model.embed([np.zeros((40, 20, 3), np.uint8)], color="rgb")
    with pytest.raises(ConfigError, match="preset"):
        open_model(model.artifact.path, preset="latency", batch=4)
