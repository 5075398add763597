"""The GPU script, run on a CPU: same code, same document; only the device differs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.bench import gpu
from prune.session import torch_session
from runtime.errors import guarded
from tests.fakes import lite, tiny_model

ROOT = Path(__file__).resolve().parents[3]
TEACHER = ROOT / "data/demo/model.safetensors"


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    stranger = tiny_model.write_model(folder / "stranger.onnx")
    words = ["--torch", str(TEACHER), str(stranger), "absent.onnx", "--device", "cpu", "--no-compile"]
    words += [
        "--data",
        str(ROOT / "data/anny_reid"),
        "--batch",
        "2",
        "--rounds",
        "1",
        "--out",
        str(folder / "r.json"),
    ]
    assert guarded(gpu.main, words) == 0
    return json.loads((folder / "r.json").read_text())


def test_half_precision_is_close_to_the_reference_and_not_the_reference(document):
    assert document["reference"] == "torch eager fp32"
    assert document["parity"]["torch eager fp32"]["difference_max"] == 0
    assert 1e-6 < document["parity"]["torch eager fp16"]["difference_max"] < 5e-3
    assert [(one["name"], one["batch"]) for one in document["models"]] == [
        ("torch eager fp32", 2),
        ("torch eager fp16", 2),
    ]


def test_a_file_of_another_model_and_one_that_is_not_there_are_reported_and_stop_nothing(document):
    reasons = {Path(name).name: reason for name, reason in document["failed"].items()}
    assert "cannot compare features (64, 960) and (64, 6)" in reasons["stranger.onnx"]
    assert "no such file" in reasons["absent.onnx"]
    assert [row[2] for row in gpu.rows(document)][2:] == ["does not run here"] * 2


def test_cuda_without_a_gpu_is_one_line(tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    words = [
        "--torch",
        str(TEACHER),
        "--data",
        str(ROOT / "data/anny_reid"),
        "--out",
        str(tmp_path / "r.json"),
    ]
    assert guarded(gpu.main, [*words, "--no-compile"]) == 5
    assert capsys.readouterr().err.splitlines()[-1].endswith("the reasons stand above")
    assert not (tmp_path / "r.json").exists()


def test_a_compiled_session_runs_the_compiled_network(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda model: asked.append(model) or model)
    model = lite.model()
    images, _, cameras = (part.numpy() for part in lite.batch())
    assert np.array_equal(
        torch_session(model, compiled=True)(images, cameras), torch_session(model)(images, cameras)
    )
    assert asked == [model]
