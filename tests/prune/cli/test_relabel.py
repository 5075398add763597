"""`python -m prune.relabel`: fewer classifier rows, the same features."""

import pytest
import torch

from prune.cli import relabel
from prune.model.file import load_model, save_model
from prune.session import open_torch_model
from prune.training.data import label_map
from runtime.datasets import read_dataset
from runtime.entry import guarded
from tests.fakes import prune_runs
from tests.prune.training.test_classifiers import PERMUTED, knowing

IMAGES = torch.linspace(-2, 2, 2 * 3 * 64 * 32).view(2, 3, 64, 32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prune_runs.people(tmp_path_factory.mktemp("relabel") / "people")


@pytest.fixture
def trained(data, tmp_path):
    path = tmp_path / "teacher.safetensors"
    notes = {"source": "train", "init": None, "data": {"layout": "anny", "images": 9}}
    save_model(knowing(data, PERMUTED), path, prune_runs.SPEC, notes=notes)
    return path


def run(*words):
    return guarded(relabel.main, [str(word) for word in words])


def test_rows_are_those_of_the_people_and_features_do_not_change(data, trained, tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    assert run(trained, "--data", data, "--out", out) == 0
    assert capsys.readouterr().out.strip() == str(out)
    before, (after, manifest) = load_model(trained)[0], load_model(out)
    assert (
        after.architecture.identities
        == len(label_map(read_dataset(str(data), "anny").train))
        == len(PERMUTED)
    )
    with torch.no_grad():
        assert torch.allclose(before(IMAGES), after(IMAGES), atol=1e-5)
        was, now = (model.logits(model.parts(IMAGES)) for model in (before, after))
    for old, new in zip(was, now):
        assert torch.allclose(old[:, list(PERMUTED)], new, atol=1e-4)
    old, new = (network.state_dict() for network in (before, after))
    for name, value in new.items():
        assert torch.equal(old[name][list(PERMUTED)] if name.startswith("classifier") else old[name], value)
    assert manifest["source"] == "train" and manifest["data"]["images"] == 9
    assert manifest["parent"] == open_torch_model(trained)[0].sha256
    assert manifest["relabelled"]["from"] == before.architecture.identities


def test_a_classifier_that_knows_nobody_writes_nothing(data, trained, tmp_path, capsys):
    model = load_model(trained)[0]
    with torch.no_grad():
        for suffix in model.suffixes:
            getattr(model, f"classifier{suffix}").weight.zero_()
    blank = tmp_path / "blank.safetensors"
    save_model(model, blank, prune_runs.SPEC)
    assert run(blank, "--data", data, "--out", tmp_path / "no.safetensors") == 7
    assert "do not know the people" in capsys.readouterr().err
    assert not (tmp_path / "no.safetensors").exists()


def test_more_people_than_rows_and_the_model_itself_are_refused(data, trained, tmp_path, capsys):
    few = tmp_path / "few.safetensors"
    save_model(prune_runs.network(2), few, prune_runs.SPEC)
    assert run(few, "--data", data, "--out", tmp_path / "no.safetensors") == 2
    assert run(trained, "--data", data, "--out", trained) == 2
    assert "choose another name" in capsys.readouterr().err
