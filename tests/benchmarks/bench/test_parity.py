"""bench.py on several forms of one model: how near their features are, and what happens to a model that does not run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.bench import cli as bench
from benchmarks.bench import measure, running
from benchmarks.bench.arguments import parse
from benchmarks.bench.merge import cli as merge
from benchmarks.candidate import open_candidate
from benchmarks.inputs import Crops
from benchmarks.options import Candidate
from prune.session import torch_session
from runtime.entry import guarded
from runtime.errors import ConfigError
from tests.fakes import lite, tiny_model

ROOT = Path(__file__).resolve().parents[3]
TEACHER = ROOT / "data/demo/model.safetensors"
DATA = ["--data", str(ROOT / "data/anny_reid"), "--no-accuracy"]


def run(capsys, *words):
    code = guarded(bench.main, [*map(str, words), "--rounds", "1", "--threads", "1"])
    return code, capsys.readouterr()


@pytest.fixture
def no_children(monkeypatch):
    monkeypatch.setattr(measure, "peak_memory", lambda candidate, batch: None)
    monkeypatch.setattr(measure, "_stages", lambda artifact, dataset, policy: None)


def test_forms_of_one_model_are_held_to_the_first_and_a_stranger_stops_nothing(tmp_path, capsys, no_children):
    stranger, absent = tiny_model.write_model(tmp_path / "stranger.onnx"), tmp_path / "absent.onnx"
    names = [TEACHER, f"{TEACHER}@fp16", stranger, absent]
    words = [*names, *DATA, "--batch", "2", "--parity", "--keep-going", "--json"]
    code, (out, err) = run(capsys, *words)
    result = json.loads(out)
    assert code == 0 and result["complete"] and not result["missing"]
    assert [(row["engine"], row["precision"], row["batch"]) for row in result["models"]] == [
        ("torch", "fp32", 2),
        ("torch-fp16", "fp16", 2),
    ]
    whole, half = (row["parity"] for row in result["models"])
    assert whole["difference_max"] == 0 and whole["images"] == half["images"] == 64
    assert 1e-6 < half["difference_max"] < 5e-3 and half["cosine_min"] < 1
    reasons = {Path(failure["model"]).name: failure["why"] for failure in result["failed"]}
    assert "960" in reasons["stranger.onnx"] and "no such file" in reasons["absent.onnx"]
    assert err.count("does not run here") == 2
    (tmp_path / "run.json").write_text(out)
    assert guarded(merge.main, [str(tmp_path / "run.json")]) == 0


def test_people_see_the_parity_and_what_does_not_run(tmp_path, capsys, no_children):
    model = tiny_model.write_model(tmp_path / "m.onnx")
    words = [model, f"{model}@openvino", tmp_path / "absent.onnx", "--parity", "--keep-going"]
    code, (out, _) = run(capsys, *words)
    assert code == 0 and "lowest cosine" in out and "do not run here" in out and "absent.onnx" in out


def test_without_keep_going_the_first_model_that_does_not_run_ends_the_run(tmp_path, capsys, no_children):
    model = tiny_model.write_model(tmp_path / "m.onnx")
    wide = tiny_model.write_model(tmp_path / "wide.onnx", dim=8)
    assert run(capsys, model, tmp_path / "absent.onnx")[0] == 4
    assert run(capsys, model, wide, "--parity")[0] == 2
    assert run(capsys, model, wide)[0] == 0, "models of two widths may be timed beside each other"


def test_where_nothing_runs_there_is_no_document(tmp_path, capsys, monkeypatch):
    code, (out, err) = run(capsys, tmp_path / "absent.onnx", "--keep-going", "--json")
    assert code == 5 and not out and "reasons" in err.splitlines()[-1]

    def fails_when_it_runs(candidate):
        artifact = open_candidate(candidate)
        return running.Artifact(**{**vars(artifact), "run": lambda *_: 1 / 0})

    monkeypatch.setattr(running, "open_candidate", fails_when_it_runs)
    model = tiny_model.write_model(tmp_path / "m.onnx")
    code, (out, err) = run(capsys, model, "--keep-going", "--json")
    assert code == 5 and not out and "ZeroDivisionError" in err


@pytest.mark.parametrize("option", ["--parity", "--keep-going"])
def test_a_board_is_not_asked_for_them(option):
    with pytest.raises(ConfigError, match=option):
        parse(["m.engine", "--device", "jetson", option])


def test_weights_run_in_four_forms():
    words = [f"c.safetensors{form}" for form in ("", "@compile", "@fp16", "@compile-fp16")]
    candidates = parse(words).candidates
    forms = [(candidate.torch, candidate.compiled, candidate.half) for candidate in candidates]
    assert forms == [(True, compiled, half) for half in (False, True) for compiled in (False, True)]
    assert [candidate.name for candidate in candidates] == words


def test_a_compiled_session_runs_the_compiled_network(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda model: calls.append(model) or model)
    model = lite.model()
    images, _, cameras = (part.numpy() for part in lite.batch())
    assert np.array_equal(
        torch_session(model, compiled=True)(images, cameras), torch_session(model)(images, cameras)
    )
    assert calls == [model]


def test_a_compiled_model_in_half_precision_is_both(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda model: calls.append(model) or model)
    artifact = open_candidate(Candidate(TEACHER, torch=True, compiled=True, half=True))
    assert artifact.backend == "torch.compile-fp16"
    assert [next(model.parameters()).dtype for model in calls] == [torch.float16]


def test_images_that_prove_nothing_are_told_before_anything_is_timed(tmp_path, capsys, monkeypatch):
    model = tiny_model.write_model(tmp_path / "m.onnx")
    same = np.full((32, 16, 3), 128, np.uint8)
    monkeypatch.setattr(measure, "random_crops", lambda count: Crops((same,) * count, (-1,) * count, "grey"))
    monkeypatch.setattr(measure, "time_models", lambda *_, **__: pytest.fail("timed"))
    code, (out, err) = run(capsys, model, model, "--parity", "--json")
    assert code == 3 and not out and "prove nothing" in err
