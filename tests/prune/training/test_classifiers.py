"""Identities are matched to classifier rows by voting, and prune.py uses the matched rows."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prune.config.settings import PruneConfig
from prune.model.file import load_model
from prune.scoring import inputs
from prune.training import classifiers
from prune.training.data import label_map
from prune.training.losses import training_loss
from runtime.datasets import Item, read_dataset
from tests.fakes import lite, prune_runs

ROWS = 7
# the classifier row of each label in the model that `knowing` returns
PERMUTED = (5, 0, 6, 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prune_runs.people(tmp_path_factory.mktemp("votes") / "people")


def items_of(data):
    return read_dataset(str(data), "anny").train


def features_of(model, data):
    """Return the necks' features (N, D) per head of all voting images, and their labels (N,)."""
    batches = list(classifiers.voting_batches(items_of(data), prune_runs.SPEC, "cpu"))
    with torch.no_grad():
        parts = [model.necks(model.parts(images, rows)) for images, _, rows in batches]
    heads = [torch.cat(head) for head in zip(*parts)]
    return heads, torch.cat([labels for _, labels, _ in batches])


def knowing(data, rows, available=ROWS):
    """Return a model that recognises label n by classifier row `rows[n]`: least squares on one-hot rows."""
    model = prune_runs.network(available)
    heads, labels = features_of(model, data)
    targets = torch.full((len(labels), available), -10.0).double()
    targets[torch.arange(len(labels)), torch.tensor(rows)[labels]] = 10
    with torch.no_grad():
        for suffix, features in zip(model.suffixes, heads):
            weight = (torch.linalg.pinv(features.double()) @ targets).T
            getattr(model, f"classifier{suffix}").weight.copy_(weight)
    return model


def cast(model, data):
    return classifiers.row_votes(model, classifiers.voting_batches(items_of(data), prune_runs.SPEC, "cpu"), 4)


def test_the_vote_finds_the_permutation_in_a_larger_classifier(data):
    vote = cast(knowing(data, PERMUTED), data)
    assert vote.rows == PERMUTED and vote.accepted
    assert (vote.available, vote.images, vote.agree, vote.disputed) == (ROWS, 16, 1.0, 0)
    assert str(vote) == "4 of 7 rows, 100% of 16 images agree"


def test_unknown_people_are_not_accepted(data):
    vote = cast(prune_runs.network(ROWS), data)
    assert not vote.accepted and len(set(vote.rows)) == 4


def test_two_people_with_one_row_are_disputed_and_refused(data):
    vote = cast(knowing(data, (5, 5, 6, 2)), data)
    assert vote.disputed == 1 and not vote.accepted
    assert vote.agree == pytest.approx(12 / 16) and len(set(vote.rows)) == 4


def test_one_image_a_person_agrees_with_nobody(data):
    image_of_person = {item.pid: item for item in items_of(data)}
    batches = classifiers.voting_batches(list(image_of_person.values()), prune_runs.SPEC, "cpu")
    vote = classifiers.row_votes(knowing(data, PERMUTED), batches, 4)
    assert vote.rows == PERMUTED and vote.agree == 0 and not vote.accepted


def test_the_vote_leaves_the_model_as_it_was(data):
    model = knowing(data, PERMUTED).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    cast(model, data)
    assert model.training and all(
        torch.equal(value, before[key]) for key, value in model.state_dict().items()
    )


@given(st.integers(1, 6), st.integers(0, 4), st.integers(0, 1000))
def test_assigned_rows_are_distinct_and_uncontested_favourites_are_kept(people, more, seed):
    random = np.random.default_rng(seed)
    votes = torch.from_numpy(random.integers(0, 4, (people, people + more)).astype(float))
    scores = torch.from_numpy(random.normal(size=votes.shape))
    rows = classifiers.assign_rows(votes, scores)
    assert len(set(rows)) == people and all(0 <= row < people + more for row in rows)
    # nobody would swap for a row that is free, or that another one wants less
    holder = dict(zip(rows, range(people)))
    for person, row in enumerate(rows):
        for other in range(people + more):
            if (votes[person, other], scores[person, other]) > (votes[person, row], scores[person, row]):
                rival = holder[other]
                assert (votes[rival, other], scores[rival, other]) > (votes[person, other], scores[person, other])  # fmt: skip


def test_voters_are_spread_over_cameras():
    items = [Item(f"{camera}_{shot:02d}.jpg", 4, camera) for camera in (0, 1, 2) for shot in range(9)]
    items += [Item("only.jpg", 1, 0)]
    chosen = classifiers.voting_items(items, 6)
    assert [item.path for item in chosen if item.pid == 1] == ["only.jpg"]
    assert sorted(item.path for item in chosen if item.pid == 4) == [
        "0_00.jpg",
        "0_04.jpg",
        "1_00.jpg",
        "1_04.jpg",
        "2_00.jpg",
        "2_04.jpg",
    ]


def test_voting_batches_have_the_labels_of_training(data):
    items = items_of(data)
    batches = list(classifiers.voting_batches(items, prune_runs.SPEC, "cpu", size=6))
    assert [len(labels) for _, labels, _ in batches] == [6, 6, 4]
    names = label_map(items)
    chosen = classifiers.voting_items(items)
    assert torch.cat([labels for _, labels, _ in batches]).tolist() == [names[item.pid] for item in chosen]
    assert torch.cat([rows for _, _, rows in batches]).tolist() == [item.camid for item in chosen]


def test_selecting_rows_permutes_every_classifier_and_nothing_else(data):
    model, (images, _, rows) = prune_runs.network(ROWS).train(), lite.batch()
    rows = rows % 2
    new = classifiers.with_classifier_rows(model, PERMUTED)
    assert new.training and new.architecture == dataclasses.replace(model.architecture, identities=4)
    model.eval(), new.eval()
    old, permuted = (network.logits(network.parts(images, rows)) for network in (model, new))
    # the rows themselves to the bit; products of other shapes round otherwise on some processors
    for suffix in model.suffixes:
        whole, chosen = (getattr(network, f"classifier{suffix}").weight for network in (model, new))
        assert torch.equal(whole[list(PERMUTED)], chosen)
    assert all(torch.allclose(a[:, list(PERMUTED)], b, atol=1e-4) for a, b in zip(old, permuted))
    assert torch.allclose(model(images, rows), new(images, rows), atol=1e-5)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in model.base.blocks]
    assert [getattr(block.drop_path, "drop_prob", 0.0) for block in new.base.blocks] == rates


def test_fresh_classifiers_depend_on_the_seed_alone():
    model = prune_runs.network(ROWS)
    first = classifiers.with_new_classifiers(model, 4, seed=3)
    torch.rand(5)
    state = torch.get_rng_state()
    same_seed, other_seed = (classifiers.with_new_classifiers(model, 4, seed=seed) for seed in (3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.classifier_2.weight, same_seed.classifier_2.weight)
    assert not torch.equal(first.classifier.weight, other_seed.classifier.weight)
    kept = {key: value for key, value in model.state_dict().items() if not key.startswith("classifier")}
    assert all(torch.equal(value, first.state_dict()[key]) for key, value in kept.items())


@pytest.mark.parametrize(("rows", "available"), [(PERMUTED, ROWS), ((2, 0, 3, 1), 4)])
def test_prune_goes_on_with_the_rows_that_were_found(rows, available, data, tmp_path, capsys):
    """More rows than people, and as many in another order: identity loss and distillation stay."""
    model = knowing(data, rows, available)
    root = prune_runs.teacher(tmp_path / "teacher", model)
    assert prune_runs.prune_into(tmp_path / "out", root, data) == 0
    vote_line = f"classifier rows found by vote: 4 of {available} rows, 100% of 16 images agree"
    errors = capsys.readouterr().err
    assert vote_line in errors and "without distillation" not in errors
    pruned, manifest = load_model(tmp_path / "out" / "model.safetensors")
    assert manifest["scoring_loss"] == f"identity and triplet: {vote_line}"
    assert (
        json.loads((tmp_path / "out" / "result.json").read_text())["scoring_loss"] == manifest["scoring_loss"]
    )
    assert manifest["config"]["train"]["distill"]["type"] == "soft"
    assert pruned.architecture.identities == 4
    # a short fine-tuning leaves a classifier nearer to the teacher's rows in this order than in any other
    theirs = model.classifier.weight[list(rows)]
    nearest = torch.cdist(pruned.classifier.weight, model.classifier.weight).argmin(dim=1)
    assert nearest.tolist() == list(rows) and not torch.equal(pruned.classifier.weight, theirs)
    terms = json.loads((tmp_path / "out" / "round_03" / "metrics.jsonl").read_text().splitlines()[0])
    assert terms["distillation"] > 0


def test_rows_in_order_need_no_vote(data, tmp_path, capsys):
    root = prune_runs.teacher(tmp_path / "teacher", knowing(data, (0, 1, 2, 3), 4))
    assert prune_runs.prune_into(tmp_path / "out", root, data) == 0
    errors = capsys.readouterr().err
    assert "identity and triplet: the classifier is right on 100%" in errors and "vote" not in errors


def test_strangers_are_said_to_have_no_rows(data, tmp_path, capsys):
    root = prune_runs.teacher(tmp_path / "teacher", prune_runs.network(ROWS))
    assert prune_runs.prune_into(tmp_path / "out", root, data) == 0
    errors = capsys.readouterr().err
    assert "failed: 4 of 7 rows" in errors
    assert "with new classifiers for 4 identities, without distillation" in errors


def test_strangers_still_teach_by_their_features(data, tmp_path, capsys):
    root = prune_runs.teacher(tmp_path / "teacher", prune_runs.network(ROWS))
    assert prune_runs.prune_into(tmp_path / "out", root, data, "--set", "train.distill.type=features") == 0
    assert "with new classifiers for 4 identities, distilling features" in capsys.readouterr().err
    line = json.loads(next((tmp_path / "out").rglob("metrics.jsonl")).read_text().splitlines()[0])
    assert line["distillation"] > 0


def test_a_classifier_with_fewer_rows_than_people_is_not_asked(data, tmp_path):
    items, model = items_of(data), prune_runs.network(3)
    batches = inputs.batch_source(
        items, prune_runs.SPEC, PruneConfig(batches=1, identities=2, images=2), "cpu"
    )
    same, loss, why = inputs.fit_classifier(model, items, prune_runs.SPEC, batches, "cpu")
    assert same is model and loss is inputs.triplet_only and loss is not training_loss
    assert why.startswith("triplet:") and "3 identities" in why and "has 4" in why
