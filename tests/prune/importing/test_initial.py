"""The model that a training run starts from: weights of many kinds reach the right tensors or are refused with advice."""

import dataclasses

import pytest
import torch

from prune.config.load import Config
from prune.config.model import ModelConfig
from prune.importing.imagenet import read_weights, resampled, source_grid
from prune.importing.initial import copy_weights, initial_model
from prune.model.architecture import unpruned
from prune.model.transreid import TransReID
from runtime.entry import guarded
from runtime.errors import ArtifactError
from tests.fakes import lite

# 7 x 3 patches at stride 8, 4 x 2 at stride 16
CONFIG = Config(model=ModelConfig(variant="vit_lite", size=(64, 32), stride=8, jpm=False, identities=5))


def plain(patches=21, seed=1):
    """A plain vit_lite's tensors under timm's names, `patches` positions."""
    torch.manual_seed(seed)
    state = TransReID(unpruned("vit_lite", height=64, width=32, stride=8, jpm=False)).state_dict()
    state = {key.removeprefix("base."): value for key, value in state.items() if key.startswith("base.")}
    return state | {"pos_embed": torch.randn(1, patches + 1, 192), "fc.weight": torch.zeros(1000, 192)}


def saved(tmp_path, content, name="w.pth"):
    torch.save(content, tmp_path / name)
    return str(tmp_path / name)


def under(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


def test_the_models_own_grid_is_taken_as_it_is(tmp_path):
    state = plain()
    initial = initial_model(CONFIG, [saved(tmp_path, state)])
    assert torch.equal(initial.model.base.pos_embed, state["pos_embed"])
    assert torch.equal(initial.model.base.blocks[7].mlp.fc2.weight, state["blocks.7.mlp.fc2.weight"])
    assert initial.parent and any("fc.weight" in text for text in initial.notes)


WRAPS = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": under("module.", state), "optimizer": {"state": {}}},
    "model_state_dict": lambda state: {"model_state_dict": under("_orig_mod.module.", state)},
    "net": lambda state: {"net": under("encoder.", state)},
    "base": lambda state: under("base.", state),
    "model.": lambda state: {"state_dict": under("model.", state)},
    "DINO": lambda state: {
        "student": under("module.backbone.", {key: value + 1 for key, value in state.items()}),
        "teacher": under("backbone.", state) | {"head.mlp.0.weight": torch.zeros(7, 192)},
    },
    "DINO in parallel": lambda state: {
        "teacher": under("module.backbone.", state) | {"module.head.mlp.0.weight": torch.zeros(7, 192)}
    },
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_wrapped_weights_are_found_and_of_dino_the_teachers(wrap, tmp_path):
    state = plain()
    initial = initial_model(CONFIG, [saved(tmp_path, WRAPS[wrap](state))])
    tensors = initial.model.state_dict()
    assert all(
        torch.equal(tensors[f"base.{key}"], value) for key, value in state.items() if key != "fc.weight"
    )
    assert any("head.mlp" in text for text in initial.notes) == wrap.startswith("DINO")


@pytest.mark.parametrize(
    ("patches", "size", "stride", "grid"),
    [
        (128, (256, 128), 16, (16, 8)),  # a person ViT, the model's own
        (196, (256, 128), 16, (14, 14)),  # ImageNet
        (128, (256, 128), 12, (16, 8)),  # a person ViT, into overlapping patches
        (192, (384, 128), 12, (24, 8)),  # the same at 3 to 1
        (210, (256, 128), 12, (21, 10)),
        (64, (256, 64), 16, (16, 4)),  # the model's own, though 64 is a square
        (128, (384, 128), 16, (16, 8)),
        (1, (256, 128), 16, (1, 1)),
    ],
)
def test_grids_of_pretrained_models(patches, size, stride, grid):
    architecture = unpruned("vit_base", height=size[0], width=size[1], stride=stride)
    assert source_grid(patches, architecture) == grid


def test_a_grid_that_nobody_knows_is_refused_with_both_numbers(tmp_path):
    with pytest.raises(ArtifactError, match="18 tokens.*model.size"):
        initial_model(CONFIG, [saved(tmp_path, plain(patches=17))])


def test_resampling_keeps_what_is_linear_over_the_person():
    """Rows 0..15 down the picture stay a straight line on 21 rows, but for the clamped border; columns are not mixed in."""
    rows = torch.arange(16.0).repeat_interleave(8).view(1, 128, 1)
    positions = resampled(torch.cat([torch.full((1, 1, 1), 99.0), rows], dim=1), (16, 8), (21, 10))
    grid = positions[0, 1:, 0].view(21, 10)
    assert positions[0, 0, 0] == 99 and torch.allclose(grid, grid[:, :1].expand(21, 10), atol=1e-5)
    steps = grid[2:-1, 0] - grid[1:-2, 0]
    assert torch.allclose(steps, torch.full_like(steps, 16 / 21), atol=1e-4)


def test_a_note_says_that_the_own_grid_has_as_many_patches_as_a_square(tmp_path):
    config = Config(model=dataclasses.replace(CONFIG.model, size=(64, 16), stride=16))
    initial = initial_model(config, [saved(tmp_path, plain(patches=4))])
    assert any("4 x 1" in text and "square" in text for text in initial.notes)


def test_weights_of_another_variant_name_the_setting_that_fits(tmp_path):
    path = saved(tmp_path, plain())
    other = Config(model=dataclasses.replace(CONFIG.model, variant="deit_small"))
    with pytest.raises(ArtifactError, match="--set model.variant=vit_lite"):
        initial_model(other, [path])
    initial_model(Config(model=dataclasses.replace(other.model, variant="vit_lite")), [path])


def test_a_reid_checkpoint_names_the_command_that_converts_it_and_that_helps(tmp_path, capsys):
    from prune.cli.convert import main

    network = lite.model(jpm=False, cameras=3)
    path = saved(tmp_path, {"state_dict": under("module.", network.state_dict())})
    with pytest.raises(ArtifactError, match=r"prune.convert .*w.pth .*--init .*w.safetensors"):
        initial_model(CONFIG, [path])
    (tmp_path / "its.yaml").write_text(
        "model: {variant: vit_lite, size: [64, 32], stride: 8, jpm: false, cameras: 3}\n"
    )
    out = str(tmp_path / "w.safetensors")
    assert guarded(main, [path, "--config", str(tmp_path / "its.yaml"), "--out", out]) == 0
    initial = initial_model(CONFIG, [out])
    assert torch.equal(initial.model.base.cls_token, network.base.cls_token)
    assert any("3 cameras" in text for text in initial.notes)
    # without its manifest it is no model of ours any more
    (tmp_path / "w.safetensors.json").unlink()
    with pytest.raises(ArtifactError, match="w.safetensors.json"):
        initial_model(CONFIG, [out])
    capsys.readouterr()


@pytest.mark.parametrize(("theirs", "ours"), [(6, 2), (6, 0), (0, 2)])
def test_other_cameras_get_a_new_table_and_other_people_new_classifiers(theirs, ours):
    source, model = lite.model(1, cameras=theirs, identities=7), TransReID(lite.architecture(cameras=ours))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    notes = copy_weights(model, source, "a.safetensors")
    fresh = ("classifier", "base.sie_embed")
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key] if key.startswith(fresh) else source.state_dict()[key]), key
    assert any(f"{theirs} cameras" in text for text in notes) and any("7 people" in text for text in notes)
    # the same again: nothing is left to say, and the table is the source's
    same = TransReID(lite.architecture(cameras=theirs, identities=7))
    assert not copy_weights(same, source, "a") and all(
        torch.equal(value, source.state_dict()[key]) for key, value in same.state_dict().items()
    )


def test_another_stride_resamples_positions_and_other_structures_name_their_settings():
    source = lite.model(jpm=False)
    model = TransReID(lite.architecture(jpm=False, stride=16))
    (note,) = copy_weights(model, source, "a")
    assert "7 x 3" in note and "4 x 2" in note
    assert torch.equal(
        model.base.pos_embed, resampled(source.base.pos_embed, (7, 3), (4, 2))
    ) and torch.equal(model.base.cls_token, source.base.cls_token)
    with pytest.raises(ArtifactError, match="--set model.jpm=false"):
        copy_weights(TransReID(lite.architecture()), source, "a")
    with pytest.raises(ArtifactError, match="--set model.sie_coefficient=3.0"):
        copy_weights(TransReID(lite.architecture(jpm=False, sie_coefficient=1.0)), source, "a")
    with pytest.raises(ArtifactError, match="pruned"):
        copy_weights(TransReID(lite.architecture()), lite.pruned(), "a")


def test_safetensors_are_unwrapped_too(tmp_path):
    from safetensors.torch import save_file

    save_file(under("backbone.", {"cls_token": torch.ones(1)}), tmp_path / "w.safetensors")
    assert list(read_weights(tmp_path / "w.safetensors")) == ["cls_token"]
