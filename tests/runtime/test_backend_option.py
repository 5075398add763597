"""The backend that ran is written into every result, and a ranking across backends is never silent."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.bench import cli as bench
from benchmarks.bench.arguments import parse as parse_bench
from runtime.__main__ import main
from runtime.backends import choice
from runtime.cli.arguments import add_model_options
from runtime.features import Features, load_features, save_features
from runtime.files.manifest import sha256
from tests.fakes.tiny_model import SPEC, write_model

pytest.importorskip("runtime.backends.openvino", reason="needs openvino")
pytest.importorskip("runtime.backends.onnxruntime", reason="needs onnxruntime")


def features(backend: str | None) -> Features:
    return Features(
        np.eye(4, dtype=np.float32), tuple("abcd"), np.arange(4), np.arange(4), "f" * 64, backend=backend
    )


@pytest.mark.parametrize("backend", [None, "openvino-bf16"])
def test_a_features_file_says_which_backend_made_it(tmp_path: Path, backend: str | None) -> None:
    save_features(tmp_path / "f.npz", features(backend))
    assert load_features(tmp_path / "f.npz").backend == backend
    assert json.loads((tmp_path / "f.npz.json").read_text())["engine"] == backend


@pytest.mark.parametrize(
    ("query", "gallery", "noted"),
    [
        ("openvino", "openvino", False),
        (None, None, False),
        ("openvino-bf16", "onnxruntime", True),
        ("openvino", None, True),
    ],
)
def test_a_ranking_across_backends_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], query: str | None, gallery: str | None, noted: bool
) -> None:
    near = dataclasses.replace(features(query), camids=np.arange(4) + 1)
    save_features(tmp_path / "q.npz", near)
    save_features(tmp_path / "g.npz", features(gallery))
    assert (
        main(["evaluate", "--query", str(tmp_path / "q.npz"), "--gallery", str(tmp_path / "g.npz"), "--json"])
        == 0
    )
    captured = capsys.readouterr()
    assert json.loads(captured.out)["engine"] == query
    assert ("different backends" in captured.err) == noted


@pytest.fixture
def crop_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "crops"
    folder.mkdir()
    random = np.random.default_rng(1)
    for number in range(5):
        pixels = random.integers(0, 256, (SPEC.height, SPEC.width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_extract_and_search_run_on_the_backend_asked_for(
    tmp_path: Path, crop_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, gallery = str(write_model(tmp_path / "m.onnx")), str(tmp_path / "g.npz")
    main(["extract", model, str(crop_folder), "--out", gallery, "--backend", "openvino", "--json"])
    assert json.loads(capsys.readouterr().out)["engine"] == "openvino"
    assert load_features(gallery).backend == "openvino"
    main(["search", model, str(crop_folder / "3.png"), "--gallery", gallery, "--top", "1", "--json"])
    captured = capsys.readouterr()
    (query,) = json.loads(captured.out)["queries"]
    assert query["matches"][0]["path"].endswith("3.png")
    assert "different backends" in captured.err


def test_bench_says_which_backend_it_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(write_model(tmp_path / "m.onnx"))
    bench.main(
        [model, "--backend", "openvino", "--rounds", "2", "--batch", "1,2", "--threads", "1", "--json"]
    )
    models = json.loads(capsys.readouterr().out)["models"]
    assert [row["engine"] for row in models] == ["openvino", "openvino"]
    assert all(row["features_equal"] for row in models)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "python -m runtime choose"),
        (
            {"engine": "openvino", "passed": False, "failures": ["lowest cosine 0.9"]},
            "here: lowest cosine 0.9",
        ),
        ({"engine": "openvino", "missing": "not installed"}, "here: not measured"),
        ({"engine": "onnxruntime", "passed": True}, "here: not measured"),
        ({"engine": "openvino", "passed": True}, None),
    ],
)
def test_a_backend_that_passed_no_gate_here_runs_with_a_warning(
    tmp_path: Path,
    crop_folder: Path,
    capsys: pytest.CaptureFixture[str],
    row: dict | None,
    reason: str | None,
) -> None:
    model = write_model(tmp_path / "m.onnx")
    if row is not None:
        choice.write_choice(model, {"model": sha256(model), "rows": [row]} | choice.this_machine())
    extract = ["extract", str(model), str(crop_folder), "--out", str(tmp_path / "f.npz")]
    main([*extract, "--engine", "openvino"])
    bench.main([str(model), "--engine", "openvino", "--rounds", "1"])
    warnings = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line and "gate" in line]
    assert len(warnings) == (0 if reason is None else 2)
    assert all(str(reason) in line for line in warnings)
    main([*extract, "--engine", "onnxruntime"])
    assert "WARNING" not in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--backend", "--engine"])
def test_both_names_of_the_option_give_the_backend(option: str) -> None:
    parser = ArgumentParser()
    add_model_options(parser)
    assert parser.parse_args([option, "openvino"]).backend == "openvino"
    assert [candidate.backend for candidate in parse_bench(["m.onnx", option, "openvino"]).candidates] == [
        "openvino"
    ]
