"""Narrower MLPs and fewer blocks: architectures, surgery, which neurons and blocks are removed, and a whole run."""

import copy
import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.budget_search.goal import GOALS, Goal, SearchOptions
from prune.budget_search.run import run_search
from prune.config.load import load_config
from prune.config.settings import BlocksConfig, HeadConfig, MlpConfig, PruneConfig, TokenConfig
from prune.model.architecture import REMOVED, Architecture
from prune.model.file import load_model, save_model
from prune.model.removal import removed_count
from prune.model.surgery import keep_heads, keep_neurons, keep_tokens, rebuild, remove_blocks
from prune.scoring.amg import Round, Stage, plan_rounds, prune_model
from prune.scoring.model_scores import features_of, score_blocks, score_heads, score_neurons, score_tokens
from prune.scoring.scores import neuron_magnitudes, neuron_scores
from prune.scoring.thinning import choose_blocks, choose_neurons, measure_neurons
from prune.training.losses import training_loss
from runtime.errors import ArtifactError, ConfigError, DataError, GateError
from tests.fakes import lite


def mean_feature(model, images, labels, camera_ids):
    return model(images, camera_ids).square().mean()


def same(model, last):
    return model


def features(model):
    images, _, cameras = lite.batch()
    with torch.no_grad():
        return model.eval()(images, cameras)


# architectures


def test_an_architecture_without_hidden_has_whole_mlps():
    architecture = lite.pruned().architecture
    data = architecture.to_json()
    assert all(set(block) == {"heads", "tokens"} for block in data["blocks"])
    assert Architecture.from_json(data) == architecture and architecture.hidden == (768,) * 7


def test_a_thinned_architecture_comes_back_from_json():
    architecture = lite.thinned().architecture
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
    assert architecture.hidden == (768, 1, 0, 333, 768, 0, 500) and architecture.present_blocks == 5


@pytest.mark.parametrize("hidden", [0, -1, 768, 769, 1.5, True, "9"])
def test_an_impossible_number_of_neurons_is_one_line(hidden):
    architecture = lite.architecture()
    blocks = (dataclasses.replace(architecture.blocks[0], hidden=hidden), *architecture.blocks[1:])
    with pytest.raises(ConfigError, match=r"block 0: hidden .* must be 1..767"):
        architecture.with_blocks(blocks)


def test_nonsense_is_refused():
    architecture = lite.architecture()
    narrow = dataclasses.replace(REMOVED, hidden=3)
    half = dataclasses.replace(architecture.blocks[0], heads=())
    for blocks, word in (
        ((narrow, *architecture.blocks[1:]), "block 0: hidden"),
        ((half, *architecture.blocks[1:]), "block 0: heads"),
        ((REMOVED,) * 7, "all 7"),
    ):
        with pytest.raises(ConfigError, match=word):
            architecture.with_blocks(blocks)
    last = lite.architecture(jpm=False)
    for block in (REMOVED, dataclasses.replace(last.blocks[7], hidden=9)):
        with pytest.raises(ConfigError, match="block 7"):
            last.with_blocks((*last.blocks[:7], block))
    with pytest.raises(ArtifactError, match="architecture"):
        Architecture.from_json(architecture.to_json() | {"blocks": [7] * 7})


# surgery


def test_removed_neurons_are_those_whose_output_vanishes():
    """Independently: zeroing a neuron's column of fc2 silences it."""
    model = lite.pruned()
    silenced = copy.deepcopy(model)
    keep = [list(range(0, 768, step)) for step in (1, 2, 3, 5, 7, 11, 768)]
    for block, kept in zip(silenced.base.blocks, keep):
        block.mlp.fc2.weight.data[:, sorted({*range(768)} - set(kept))] = 0
    cut = keep_neurons(model, keep)
    assert torch.allclose(features(cut), features(silenced), atol=1e-4)
    assert cut.architecture.hidden == tuple(map(len, keep)) and model.architecture.hidden == (768,) * 7


def test_a_removed_block_is_one_whose_branches_are_silent():
    """Independently: zero projections leave only what passes by."""
    model = lite.pruned()
    silenced = copy.deepcopy(model)
    for index in (1, 4):
        block = silenced.base.blocks[index]
        for linear in (block.attn.proj, block.mlp.fc2):
            linear.weight.data.zero_()
            linear.bias.data.zero_()
    cut = remove_blocks(model, [4, 1])
    assert torch.allclose(features(cut), features(silenced), atol=1e-5)
    wanted = {key for key in model.state_dict() if not key.startswith(("base.blocks.1.", "base.blocks.4."))}
    assert set(cut.state_dict()) == wanted


def test_a_thinned_model_is_cut_again_and_removed_blocks_stay_removed():
    model = lite.thinned()
    architecture = model.architecture
    again = keep_neurons(
        keep_tokens(keep_heads(model, [range(len(b.heads)) for b in architecture.blocks]), [[0, 3]] * 7),
        [range(1)] * 7,
    )
    assert again.architecture.hidden == (1, 1, 0, 1, 1, 0, 1)
    assert [len(block.tokens) for block in again.architecture.blocks] == [2, 2, 0, 2, 2, 0, 2]
    assert torch.isfinite(features(again)).all()


def test_files_training_and_drop_path_survive(tmp_path):
    model = rebuild(lite.thinned(), lite.thinned().architecture, lite.thinned().state_dict())
    save_model(model, tmp_path / "m.safetensors", lite.SPEC)
    loaded, manifest = load_model(tmp_path / "m.safetensors")
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())
    assert torch.allclose(features(loaded), features(model), atol=1e-5)
    assert manifest["shape"]["blocks"][2] == {
        "heads": [],
        "tokens": [],
    }
    rates = [
        getattr(block.drop_path, "drop_prob", 0)
        for block in remove_blocks(model, [1]).base.blocks
        if len(list(block.children()))
    ]
    assert rates == pytest.approx([0, 0.3 / 7, 0.4 / 7, 0.6 / 7])
    images, labels, cameras = lite.batch(6)
    training_loss(loaded.train(), images, labels, cameras).backward()
    assert all(p.grad is not None for name, p in loaded.named_parameters() if p.requires_grad)


# what is removed


def test_a_neurons_score_is_the_sum_over_images_of_the_absolute_signed_sum():
    activation, gradient = torch.rand(3, 4, 5), torch.randn(3, 4, 5)
    brute = [
        sum(abs(sum((activation * gradient)[b, n, j].item() for n in range(4))) for b in range(3))
        for j in range(5)
    ]
    assert neuron_scores(activation, gradient).tolist() == pytest.approx(brute, rel=1e-4, abs=1e-6)


def test_a_neurons_score_is_what_the_loss_moves_by():
    """Independently: for a loss that is linear in a neuron, the score of one image is the loss's change without it."""
    model = lite.model().double()
    images, labels, cameras = lite.batch(1)
    images, block, neuron = images.double(), 6, 17

    def loss(network, *_):
        # what the trunk gives is linear in its last MLP: no norm comes after
        return network.base(images, cameras).sum()

    score = score_neurons(model, [(images, labels, cameras)], loss)[block][neuron].item()
    kept = [[*range(768)]] * block + [[n for n in range(768) if n != neuron]]
    with torch.no_grad():
        change = abs(loss(model) - loss(keep_neurons(model, kept).double())).item()
    assert score == pytest.approx(change, rel=1e-4)


def test_magnitudes_are_norms_of_what_a_neuron_owns():
    fc1, bias, fc2 = torch.randn(7, 4), torch.randn(7), torch.randn(4, 7)
    owned = [torch.cat([fc1[n], bias[n : n + 1], fc2[:, n]]).norm().item() for n in range(7)]
    assert neuron_magnitudes(fc1, bias, fc2).tolist() == pytest.approx(owned, rel=1e-5)


@given(st.floats(0, 0.9), st.sampled_from(["model", "block"]), st.integers(1, 9), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_the_lowest_neurons_are_removed_and_never_more_than_asked(pruned, within, multiple, seed):
    random = torch.Generator().manual_seed(seed)
    scores = [torch.rand(size, generator=random) for size in (40, 0, 33, 40)]
    config, remove = MlpConfig(pruned, within, floor=3, multiple=multiple), int(113 * pruned)
    if within == "block" and remove // 3 + 1 > 30 or remove > 104:
        return
    kept, removed = choose_neurons(scores, remove, config)
    assert [len(k) for k in kept][1] == 0 and removed == 113 - sum(map(len, kept)) <= remove
    assert multiple > 1 or removed == remove
    for score, positions in zip(scores, kept):
        gone = sorted(set(range(len(score))) - set(positions))
        assert not gone or score[gone].max() <= score[positions].min()
        assert len(positions) % multiple == 0 or len(positions) == len(score)
    if within == "block" and multiple == 1:
        share = [len(score) - len(k) for score, k in zip(scores, kept) if len(score)]
        assert max(share) - min(share) <= 1


def test_a_block_costs_what_its_removal_does_to_the_features():
    model, batches = lite.thinned(), [lite.batch(3), lite.batch(2, seed=1)]
    block_scores = score_blocks(model, batches)
    assert [index for index, value in enumerate(block_scores) if value == float("inf")] == [2, 5]
    whole, without = features_of(model, batches), features_of(remove_blocks(model, [3]), batches)
    assert block_scores[3] == pytest.approx(float((1 - (whole * without).sum(dim=1)).mean()), abs=1e-6)
    with pytest.raises(DataError, match="blocks.*--data"):
        score_blocks(model, [])
    model.b1[1].bias.data[0] = torch.nan
    with pytest.raises(GateError, match="not finite"):
        score_blocks(model, batches)


def test_blocks_are_removed_one_by_one_the_least_drift_first():
    model, batches = lite.model(), [lite.batch(6)]
    chosen, rows = choose_blocks(model, BlocksConfig(2), lambda: batches)
    first = score_blocks(model, batches)
    lowest = first.index(min(first))
    second = score_blocks(remove_blocks(model, [lowest]), batches)
    assert chosen == sorted([lowest, second.index(min(second))])
    assert rows[0].tolist() == pytest.approx(first) and rows[1][lowest] == -1
    assert choose_blocks(model, BlocksConfig((6, 1)), lambda: batches) == ([1, 6], [])


def test_scores_of_a_thinned_model_have_a_place_for_every_block():
    model, batches = lite.thinned(), [lite.batch()]
    there = [not block.removed for block in model.architecture.blocks]
    for scores in (score_heads(model, batches), score_tokens(model, batches, mean_feature)):
        assert [len(score) > 0 for score in scores] == there
    neurons = measure_neurons(model, MlpConfig(), lambda: batches, mean_feature)
    assert tuple(map(len, neurons)) == model.architecture.hidden
    magnitudes = measure_neurons(model, MlpConfig(by="magnitude"), lambda: batches, mean_feature)
    assert tuple(map(len, magnitudes)) == model.architecture.hidden


@pytest.mark.parametrize(
    ("removed", "word"), [(7, "7 of 7"), ((9,), r"\[9\]"), ((1, 1), r"\[1, 1\]"), (-1, "at least 0")]
)
def test_impossible_removals_are_one_line(removed, word):
    with pytest.raises(ConfigError, match=word):
        removed_count(lite.architecture(), BlocksConfig(removed).removed)


# a whole run


def config(**changes):
    return PruneConfig(
        mlp=MlpConfig(0.3), blocks=BlocksConfig(1), heads=HeadConfig(fraction=0.25),
        tokens=TokenConfig(fraction=0.25, floor=4), **changes,
    )  # fmt: skip


@pytest.mark.parametrize("order", ["heads_first", "tokens_first", "both"])
@pytest.mark.parametrize("mode", ["bypass", "kv"])
def test_heads_tokens_neurons_and_blocks_are_removed_in_one_run(order, mode):
    batch, settings = lite.batch(), config(order=order, mode=mode)
    model, records = prune_model(lite.model(), settings, lambda: [batch], mean_feature, same)
    removed = {record["what"]: record["removed"] for record in records}
    assert removed["blocks"] == 1 and removed["heads"] == int(6 * 6 * 0.25)
    assert removed["tokens"] == int(21 * 6 * 0.25)
    assert (
        removed["neurons"] == 6 * 768 - sum(model.architecture.hidden)
        and 0.28 < removed["neurons"] / 4608 < 0.3
    )
    assert model.architecture.present_blocks == 6 and torch.isfinite(features(model)).all()
    json.dumps(records, allow_nan=False)
    again, _ = prune_model(model, settings, lambda: [batch], mean_feature, same)
    assert again.architecture.present_blocks == 5


def test_neurons_and_blocks_alone_are_one_round():
    model = lite.model()
    assert plan_rounds(model, PruneConfig(mlp=MlpConfig(0.5))) == [Round(prunes_mlp=True)]
    assert plan_rounds(model, PruneConfig(blocks=BlocksConfig((1, 2)))) == [Round(prunes_mlp=True)]
    assert plan_rounds(model, PruneConfig()) == []
    settings = PruneConfig(mlp=MlpConfig(0.5, within="block", by="magnitude"))
    narrow, records = prune_model(model, settings, lambda: [], mean_feature, same)
    assert narrow.architecture.hidden == (384,) * 7 and [record["what"] for record in records] == ["neurons"]


@pytest.mark.parametrize("kept", [False, True])
def test_a_run_stopped_anywhere_resumes_to_the_same_model(kept):
    """The plan is that of the whole model: what is left of a cut one must not be planned anew."""
    batch, settings = lite.batch(), config()
    if kept:
        settings = PruneConfig(
            heads=HeadConfig(kept=(3,) * 7), tokens=TokenConfig(kept=(9,) * 7), mlp=MlpConfig(0.3)
        )
    plan, stages = plan_rounds(lite.model(), settings), []

    def keep(model, stage):
        stages.append((model, stage))

    whole, records = prune_model(lite.model(), settings, lambda: [batch], mean_feature, same, save_stage=keep)
    assert len(stages) == 4
    for model, stage in [(lite.model(), Stage()), *stages]:
        resumed, again = prune_model(
            model, settings, lambda: [batch], mean_feature, same, stage=stage, plan=plan
        )
        assert resumed.architecture == whole.architecture and [r["what"] for r in again] == [
            r["what"] for r in records
        ]
        assert torch.allclose(features(resumed), features(whole), atol=1e-5)


def test_a_file_says_how_much_goes_and_a_wrong_key_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("prune: {mlp: {pruned: 0.25, within: block}, blocks: {removed: [3, 5]}}\n")
    prune = load_config(path).prune
    assert (prune.mlp.pruned, prune.mlp.within, prune.blocks.removed) == (0.25, "block", (3, 5))
    assert load_config(path, ["prune.blocks.removed=2"]).prune.blocks.removed == 2
    for override, message in (
        ("prune.blocks.removed=two", "must be a whole number"),
        ("prune.blocks.removed=[a]", "must be a whole number"),
        ("prune.mlp.pruned=1.5", "mlp.pruned must be within"),
        ("prune.mlp.by=size", "taylor, magnitude"),
        ("prune.mlp.prune=0.5", "did you mean pruned"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(path, [override])


@pytest.mark.parametrize("thin", [True, False])
def test_the_search_refuses_what_it_does_not_choose(thin):
    model = lite.model() if thin else keep_neurons(lite.model(), [range(9)] * 7)
    settings = PruneConfig(mlp=MlpConfig(0.3)) if thin else PruneConfig()
    with pytest.raises(ConfigError, match="prune.mlp" if thin else "--weights"):
        run_search(
            model, SearchOptions(Goal(GOALS[1], 1e8)), settings, [], [], lite.SPEC,
            batch_source=None, loss=mean_feature, out=None, device="cpu",
        )  # fmt: skip
