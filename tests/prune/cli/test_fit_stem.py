"""The command that fits a hybrid model: what it writes, and what it refuses."""

import dataclasses
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

from prune.cli import fit_stem
from prune.model.architecture import unpruned
from prune.model.file import load_model, save_model
from prune.model.transreid import TransReID
from runtime.entry import guarded
from tests.fakes import lite


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Three people in two cameras, a configuration, and the weights of a ViT and of a CNN that were never trained."""
    folder = tmp_path_factory.mktemp("inputs")
    for room, pids in (("bounding_box_train", (5, 9, 12)), ("query", (20,)), ("bounding_box_test", (20,))):
        (folder / room).mkdir()
        for pid in pids:
            for index in range(4):
                name = f"{pid:04d}_c{index % 2 + 1}s1_{index:06d}_00.png"
                Image.new("RGB", (16, 32), (pid * 10, index * 40, 99)).save(folder / room / name)
    (folder / "c.yaml").write_text(
        "model: {variant: hybrid_lite, size: [64, 32], cameras: 2}\n"
        "train: {warmup_epochs: 0, identities: 3, images: 2, optimizer: adamw, lr: 1e-3}\n"
    )
    torch.manual_seed(0)
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), folder / "cnn.pth")
    vit = TransReID(unpruned("vit_lite", height=64, width=32, cameras=2)).eval()
    save_model(vit, folder / "vit.safetensors", dataclasses.replace(lite.SPEC, cameras=2))
    return folder


def command(
    inputs: Path, out: Path, *extra: str, init: tuple[str, ...] = ("vit.safetensors", "cnn.pth")
) -> int:
    sources = [word for name in init for word in ("--init", inputs / name)]
    arguments = ["--config", inputs / "c.yaml", "--data", inputs, *sources, "--out", out]
    return guarded(fit_stem.main, [*map(str, arguments), *extra])


def test_the_fit_is_written_and_changes_only_the_skip(inputs, tmp_path, capsys):
    out = tmp_path / "hybrid.safetensors"
    assert command(inputs, out, "--images", "30", "--strength", "0.5") == 0
    assert capsys.readouterr().out.strip() == str(out)
    model, manifest = load_model(out)
    assert manifest["source"] == "fit_stem" and manifest["init"] == ["vit.safetensors", "cnn.pth"]
    # five batches of six crops
    assert manifest["fit"] == {"images": 30, "shrinkage": 0.3, "strength": 0.5}
    stem = model.base.stem
    assert stem.skip.weight.abs().max() > 0 and not stem.tokens.weight.any()
    assert command(inputs, tmp_path / "off.safetensors", "--images", "6", "--strength", "0") == 0
    assert not load_model(tmp_path / "off.safetensors")[0].base.stem.skip.weight.any()


def test_a_fit_of_a_fitted_model_is_the_same_fit(inputs, tmp_path):
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    assert (
        command(inputs, first, "--images", "30")
        == command(inputs, again, "--images", "30", init=(str(first),))
        == 0
    )
    states = [load_model(path)[0].state_dict() for path in (first, again)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize(("given", "missing"), [("vit.safetensors", "CNN"), ("cnn.pth", "ViT")])
def test_a_fit_on_random_weights_is_refused(inputs, tmp_path, capsys, given, missing):
    assert command(inputs, tmp_path / "out.safetensors", init=(given,)) == 2
    assert f"the {missing} " in capsys.readouterr().err.splitlines()[-1] and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        (["--set", "model.variant=vit_lite"], "hybrid_lite"),
        (["--set", "model.neck=after"], "neck"),
        (["--strength", "nan"], "--strength"),
        (["--strength", "-1"], "--strength"),
    ],
)
def test_a_fit_that_cannot_be_made_is_refused(inputs, tmp_path, capsys, extra, word):
    assert command(inputs, tmp_path / "out.safetensors", *extra) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert word in message and not list(tmp_path.iterdir())


@pytest.mark.parametrize("extra", [["--images", "0"], ["--shrinkage", "2"]])
def test_a_number_out_of_range_is_a_usage_error(inputs, tmp_path, capsys, extra):
    with pytest.raises(SystemExit, match="2"):
        command(inputs, tmp_path / "out.safetensors", *extra)
    assert extra[0] in capsys.readouterr().err and not list(tmp_path.iterdir())
