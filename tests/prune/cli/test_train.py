"""The command that trains: what it counts, refuses and writes."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from prune.cli import train
from prune.model.file import load_model, save_model
from runtime.entry import guarded
from tests.fakes import lite


@pytest.fixture
def market(tmp_path):
    """Three people, two cameras, four crops each, in the Market-1501 layout."""
    for folder, pids in (
        ("bounding_box_train", (5, 9, 12)),
        ("query", (20,)),
        ("bounding_box_test", (20, 21)),
    ):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for pid in pids:
            for index in range(4):
                name = f"{pid:04d}_c{index % 2 + 1}s1_{index:06d}_00.png"
                Image.new("RGB", (16, 32), (pid * 10, index * 40, 99)).save(tmp_path / "data" / folder / name)
    return tmp_path


def command(market: Path, *extra: str) -> int:
    (market / "c.yaml").write_text(
        "model: {variant: vit_lite, size: [64, 32], cameras: 2}\n"
        "train: {epochs: 2, warmup_epochs: 0, identities: 3, images: 2, optimizer: adamw, lr: 1e-3}\n"
    )
    arguments = [
        "--config",
        str(market / "c.yaml"),
        "--data",
        str(market / "data"),
        "--out",
        str(market / "out"),
    ]
    return guarded(train.main, [*arguments, *extra])


def test_the_command_counts_identities_and_writes_a_loadable_model(market, capsys):
    assert command(market) == 0
    assert capsys.readouterr().out.strip() == str(market / "out" / "model.safetensors")
    model, manifest = load_model(market / "out" / "model.safetensors")
    assert model.architecture.identities == 3 and model.architecture.cameras == 2
    assert (
        manifest["config"]["train"]["epochs"] == 2
        and len((market / "out" / "metrics.jsonl").read_text().splitlines()) == 2
    )
    # Six people are not Market-1501, whose cameras these ids would otherwise claim to be.
    assert manifest["input"]["camera"] == "input" and manifest["input"]["dataset"] is None
    assert command(market) == 2 and "add --resume" in capsys.readouterr().err
    assert command(market, "--resume") == 0


def test_the_command_names_both_numbers_when_data_and_configuration_differ(market, capsys):
    assert command(market, "--set", "model.identities=751") == 2
    error = capsys.readouterr().err
    assert "model.identities is 751" in error and "model.identities=3" in error
    assert command(market, "--set", "model.cameras=6") == 2
    error = capsys.readouterr().err
    assert "model.cameras is 6" in error and "model.cameras=2" in error


def test_the_command_starts_from_one_of_our_models(market):
    assert command(market) == 0
    source = market / "out" / "model.safetensors"
    keys = ("--set", "train.epochs=0", "--init", str(source), "--out", str(market / "next"))
    assert command(market, *keys) == 0
    first, second = (load_model(folder / "model.safetensors") for folder in (market / "out", market / "next"))
    assert all(
        torch.equal(value, second[0].state_dict()[key]) for key, value in first[0].state_dict().items()
    )
    assert second[1]["parent"] == first[1]["sha256"]


def test_the_command_starts_from_a_model_of_other_cameras_and_people(market, capsys):
    """A fine-tuned model on another data set: a new table and new classifiers, both said, the rest is the source's."""
    spec = lite.SPEC.from_json(lite.SPEC.to_json() | {"cameras": 6})
    source = lite.model(cameras=6, identities=751, stride=16)
    save_model(source, market / "other.safetensors", spec)
    assert command(market, "--set", "train.epochs=0", "--init", str(market / "other.safetensors")) == 0
    message = capsys.readouterr().err
    assert "6 cameras" in message and "751 people" in message
    model, _ = load_model(market / "out" / "model.safetensors")
    assert (model.architecture.cameras, model.architecture.identities) == (2, 3)
    assert torch.equal(model.b2[0].mlp.fc1.weight, source.b2[0].mlp.fc1.weight)
