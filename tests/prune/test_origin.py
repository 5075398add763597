"""A checkpoint's camera table against the data set that its configuration names; advice that is followed helps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from prune.cli.convert import main
from prune.config.load import load_config
from prune.model.file import load_model
from prune.session import open_weights
from runtime.datasets import CAMERAS
from runtime.entry import guarded
from tests.fakes import lite

MARKET = """
model: {variant: vit_lite, size: [64, 32], stride: 8, cameras: 6}
data: {layout: market1501}
"""


def checkpoint(path: Path, **architecture: object) -> Path:
    torch.save(lite.model(**architecture).state_dict(), path)
    return path


def convert(tmp_path: Path, weights: Path, *options: str) -> int:
    (tmp_path / "c.yaml").write_text(MARKET)
    out = tmp_path / "m.safetensors"
    return guarded(main, [str(weights), "--config", str(tmp_path / "c.yaml"), "--out", str(out), *options])


def advised(line: str) -> list[str]:
    """The --set words that a message advises."""
    options = re.findall(r"--set ('[^']*'|[^\s,;:]+)", line)
    return [word for value in options for word in ("--set", value.strip("'"))]


@pytest.mark.parametrize("cameras", [0, 1, 5, 8, 15])
def test_advice_about_another_camera_table_gives_a_model_that_names_no_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cameras: int
) -> None:
    weights = checkpoint(tmp_path / "x.pth", cameras=cameras)
    assert convert(tmp_path, weights) == 4
    line = capsys.readouterr().err
    assert line.startswith("error[4]") and not (tmp_path / "m.safetensors").exists()
    for name, count in CAMERAS.items():
        assert (name in line) == (count == cameras)
    assert convert(tmp_path, weights, *advised(line)) == 0
    spec = load_model(tmp_path / "m.safetensors")[1]["input"]
    assert spec["cameras"] == cameras and spec["camera"] == ("input" if cameras else "none")
    # where there is no table no camera id is ever used, and the name does no harm
    assert spec["dataset"] == (None if cameras else "market1501")
    assert ("will not be used" in capsys.readouterr().err) == bool(cameras)


def test_a_table_of_the_data_sets_own_size_keeps_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(tmp_path, checkpoint(tmp_path / "x.pth", cameras=6, identities=751)) == 0
    assert load_model(tmp_path / "m.safetensors")[1]["input"]["dataset"] == "market1501"
    assert "WARNING" not in capsys.readouterr().err


def test_a_classifier_of_other_people_is_doubted_and_the_advice_takes_the_name_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = checkpoint(tmp_path / "x.pth", cameras=6, identities=9)
    assert convert(tmp_path, weights) == 0
    line = capsys.readouterr().err
    assert "751" in line and load_model(tmp_path / "m.safetensors")[1]["input"]["dataset"] == "market1501"
    assert convert(tmp_path, weights, *advised(line)) == 0
    assert load_model(tmp_path / "m.safetensors")[1]["input"]["dataset"] is None
    assert "WARNING" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("architecture", "choices"),
    [
        ({"stride": 9}, 1),
        ({"stride": 16}, 4),
        ({"height": 256, "width": 128, "stride": 16}, 1),
        ({"height": 256, "width": 128, "stride": 12}, 1),
    ],
)
def test_advice_about_another_grid_names_every_stride_that_fits_and_following_it_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], architecture: dict[str, int], choices: int
) -> None:
    weights = checkpoint(tmp_path / "x.pth", cameras=6, **architecture)
    assert convert(tmp_path, weights) == 4
    options = [advised(option) for option in capsys.readouterr().err.split(" or ")]
    assert len(options) == choices
    assert f"model.stride={architecture['stride']}" in [option[-1] for option in options]
    for option in options:
        assert convert(tmp_path, weights, *option) == 0
    if choices == 1:
        restored = load_model(tmp_path / "m.safetensors")[0].architecture
        assert {key: getattr(restored, key) for key in architecture} == architecture


def test_a_grid_of_no_usual_size_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = checkpoint(tmp_path / "x.pth", cameras=6, height=80, width=48)
    assert convert(tmp_path, weights) == 4
    assert re.search(r"model\.size and model\.stride", capsys.readouterr().err)


def test_evaluating_a_checkpoint_of_other_cameras_says_that_they_are_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = checkpoint(tmp_path / "x.pth", cameras=8)
    (tmp_path / "c.yaml").write_text(MARKET)
    artifact, _ = open_weights(weights, load_config(tmp_path / "c.yaml", ["model.cameras=8"]))
    assert artifact.spec.dataset is None and "will not be used" in capsys.readouterr().err
