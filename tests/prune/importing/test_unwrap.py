"""Dictionaries and prefixes around a model's tensors are removed, and tensors that no forward pass reads are ignored with a note."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prune.cli.convert import main
from prune.importing.convert import read_checkpoint
from prune.importing.imagenet import read_weights
from prune.model.architecture import Architecture, unpruned
from prune.model.transreid import TransReID
from runtime.entry import guarded
from runtime.errors import ArtifactError
from tests.fakes.authors_checkpoint import convert

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def architecture() -> Architecture:
    return unpruned(
        "vit_lite",
        height=64,
        width=32,
        stride=16,
        jpm=False,
        rearrange=False,
        cameras=0,
        sie_coefficient=3.0,
        identities=3,
        neck="before",
    )


@pytest.fixture(scope="module")
def state(architecture: Architecture) -> State:
    torch.manual_seed(0)
    return dict(TransReID(architecture).state_dict())


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def same(data: Any, architecture: Architecture, state: State, path: Any) -> bool:
    torch.save(data, path)
    model = convert(path, architecture)
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "names",
    [
        ("state_dict",),
        ("model",),
        ("model_state_dict",),
        ("net",),
        ("teacher",),
        ("checkpoint", "model"),
        ("model", "state_dict"),
        ("state_dict", "net", "model"),
    ],
)
def test_dictionaries_around_the_tensors_are_taken_off(names, architecture, state, tmp_path):
    data: Any = state
    for name in reversed(names):
        data = {name: data, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}
    assert same(data, architecture, state, tmp_path / "c.pth")


PREFIXES = ("module.", "_orig_mod.", "model.", "base.", "encoder.")


@pytest.mark.parametrize("prefix", [*PREFIXES, *map("".join, itertools.permutations(PREFIXES, 2))])
def test_prefixes_are_taken_off_in_any_order(prefix, architecture, state, tmp_path):
    data = {"state_dict": prefixed(state, prefix), "epoch": torch.tensor(3)}
    assert same(data, architecture, state, tmp_path / "c.pth")


@pytest.mark.parametrize("name", ["backbone.", "encoder.", "module.backbone."])
def test_a_backbone_of_another_name_is_the_base(name, architecture, state, tmp_path):
    parent = name.removesuffix("backbone.").removesuffix("encoder.")
    renamed = {
        name + key.removeprefix("base.") if key.startswith("base.") else parent + key: value
        for key, value in state.items()
    }
    assert same(renamed, architecture, state, tmp_path / "c.pth")


@pytest.mark.parametrize("wrap", ["", "module."])
def test_what_no_forward_pass_reads_is_left_out_with_a_note(wrap, architecture, state, tmp_path, capsys):
    more = {
        "base.blocks.0.total_ops": torch.zeros(1),
        "total_params": torch.zeros(1, dtype=torch.float64),
        "center_criterion.centers": torch.full((3, 192), float("nan")),
        "n_averaged": torch.tensor(7),
    }
    assert same(prefixed({**state, **more}, wrap), architecture, state, tmp_path / "c.pth")
    message = capsys.readouterr().err
    assert all(name in message for name in ("total_ops", "total_params", "centers", "n_averaged"))


@pytest.mark.parametrize("counter", [torch.ones(1), torch.ones(1, 1), torch.ones(4), torch.tensor(9.0), None])
def test_counters_of_batches_may_have_any_shape(counter, architecture, state, tmp_path):
    (name,) = (key for key in state if key.endswith("num_batches_tracked"))
    data = {key: value for key, value in state.items() if key != name}
    if counter is not None:
        data[name] = counter
    torch.save(data, tmp_path / "c.pth")
    converted = convert(tmp_path / "c.pth", architecture).state_dict()
    assert converted[name].shape == ()
    assert all(torch.equal(value, converted[key]) for key, value in data.items() if key != name)


def test_a_tensor_that_the_model_does_not_know_is_still_refused(architecture, state, tmp_path):
    torch.save({**state, "base.extra.weight": torch.zeros(2)}, tmp_path / "c.pth")
    with pytest.raises(ArtifactError, match=r"unexpected: base\.extra\.weight"):
        convert(tmp_path / "c.pth", architecture)


def test_two_models_under_two_prefixes_are_refused(architecture, state, tmp_path):
    torch.save({**state, **prefixed(state, "module.")}, tmp_path / "c.pth")
    with pytest.raises(ArtifactError, match="twice"):
        convert(tmp_path / "c.pth", architecture)


def test_the_model_is_taken_and_its_average_is_ignored_with_a_note(architecture, state, tmp_path, capsys):
    average = {key: torch.zeros_like(value) for key, value in state.items()}
    data = {"state_dict_ema": average, "state_dict": state}
    assert same(data, architecture, state, tmp_path / "c.pth")
    assert "state_dict_ema" in capsys.readouterr().err


def test_a_teacher_of_dino_is_a_bare_vit(state, tmp_path):
    bare = {key.removeprefix("base."): value for key, value in state.items() if key.startswith("base.")}
    data = {"student": prefixed(bare, "module.backbone."), "teacher": prefixed(bare, "backbone.")}
    data["teacher"]["head.mlp.0.weight"] = torch.zeros(2, 2)
    torch.save(data, tmp_path / "dino.pth")
    read = read_weights(tmp_path / "dino.pth")
    assert set(bare) <= set(read)


def saved(data: Any, tmp_path: Any) -> Any:
    torch.save(data, tmp_path / "c.pth")
    return tmp_path / "c.pth"


@pytest.mark.parametrize(
    "value, name",
    [
        (argparse.Namespace(lr=1.0), "argparse.Namespace"),
        (np.arange(50.0), "numpy"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_an_object_in_a_checkpoint_is_named_on_one_printable_line(value, name, state, tmp_path, capsys):
    path = saved({"model": state, "args": value}, tmp_path)
    with pytest.raises(ArtifactError, match=name):
        read_checkpoint(path)
    config = tmp_path / "c.yaml"
    config.write_text("model: {variant: vit_lite, jpm: false, size: [64, 32]}\n")
    out = tmp_path / "m.safetensors"
    assert guarded(main, [str(path), "--config", str(config), "--out", str(out)]) == 4
    message = capsys.readouterr().err
    assert message[:-1].isprintable() and name in message and not out.exists()
