"""An extraction that a signal stops keeps what it has, in a file that nobody takes for a whole one."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.__main__ import main
from runtime.entry import guarded
from runtime.features import load_features
from tests.fakes.stopping import stop_models
from tests.fakes.tiny_model import write_model

Stop = Callable[[int], None]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Ten people in the layout of a list of crops: one colour each."""
    folder = tmp_path / "crops"
    folder.mkdir()
    for pid in range(10):
        pixels = np.random.default_rng(pid).integers(0, 256, (32, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{pid + 1:04d}_c1s1_000000_00.png")
    return folder


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """Models answer so many batches, and then SIGTERM comes."""
    return lambda batches: stop_models(monkeypatch, signal.SIGTERM, batches=batches)


def extract(model: Path, images: Path, out: Path) -> int:
    options = ("--batch", "2", "--threads", "1", "--json")
    return guarded(main, ["extract", str(model), str(images), "--out", str(out), *options])


def test_what_was_done_is_kept_beside_an_older_whole_file(
    tmp_path: Path,
    images: Path,
    stop_after: Stop,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, out, part = write_model(tmp_path / "m.onnx"), tmp_path / "f.npz", tmp_path / "f.partial.npz"
    assert extract(model, images, out) == 0
    whole, before = load_features(out), out.read_bytes()
    capsys.readouterr()

    stop_after(3)
    assert extract(model, images, out) == 143
    printed = capsys.readouterr()
    assert printed.out == "" and "6 of 10" in printed.err and printed.err.endswith("error[143] stopped\n")
    assert out.read_bytes() == before
    kept = load_features(part, partial=True)
    assert kept.paths == whole.paths[:6] and (kept.features == whole.features[:6]).all()

    assert guarded(main, ["evaluate", "--query", str(part), "--gallery", str(out)]) == 4
    assert "--allow-partial" in capsys.readouterr().err
    words = ["search", str(model), str(images / "0001_c1s1_000000_00.png"), "--gallery", str(part), "--json"]
    assert guarded(main, words) == 4
    monkeypatch.undo()
    capsys.readouterr()
    assert guarded(main, [*words, "--allow-partial"]) == 0
    printed = capsys.readouterr()
    assert (
        json.loads(printed.out)["queries"][0]["matches"][0]["path"] == whole.paths[0]
        and "WARNING" in printed.err
    )

    assert extract(model, images, out) == 0
    assert sorted(path.name for path in tmp_path.glob("f.*")) == ["f.npz", "f.npz.json"]


def test_before_the_first_batch_there_is_nothing_to_keep(
    tmp_path: Path, images: Path, stop_after: Stop, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after(0)
    assert extract(write_model(tmp_path / "m.onnx"), images, tmp_path / "f.npz") == 143
    assert "no image" in capsys.readouterr().err and not list(tmp_path.glob("f.*"))
