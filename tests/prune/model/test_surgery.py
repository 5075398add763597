"""Properties of scores, selection and surgery over random sizes."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.config.settings import HeadConfig, PruneConfig, TokenConfig
from prune.model.surgery import keep_heads, keep_tokens
from prune.scoring.amg import choose_heads, choose_tokens, prune_model
from prune.scoring.model_scores import score_heads, score_tokens
from prune.scoring.scores import (
    attention_entropy,
    count_from_fraction,
    head_scores,
    select_across_blocks,
    split_rounds,
    token_batch_scores,
    token_scores,
)
from runtime.errors import ConfigError, DataError, GateError
from tests.fakes import lite


def mean_feature(model, images, labels, camera_ids):
    return model(images, camera_ids).square().mean()


def same(model, last):
    return model


scores_strategy = st.lists(
    st.lists(st.floats(-5, 5, allow_nan=False), min_size=1, max_size=12), min_size=1, max_size=8
)


@given(scores_strategy, st.integers(0, 100), st.integers(1, 4))
def test_select_takes_exactly_what_is_asked_or_refuses(lists, remove, floor):
    scores = [torch.tensor(values, dtype=torch.float64) for values in lists]
    possible = sum(max(len(score) - floor, 0) for score in scores)
    if remove > possible:
        with pytest.raises(ConfigError, match=f"at most {possible}"):
            select_across_blocks(scores, remove, floor=floor)
        return
    kept, removed = select_across_blocks(scores, remove, floor=floor)
    assert removed == remove == sum(map(len, scores)) - sum(map(len, kept))
    for score, positions in zip(scores, kept):
        assert len(positions) >= min(floor, len(score))
        gone = sorted(set(range(len(score))) - set(positions))
        # inside a block the lowest go
        assert not gone or not positions or score[gone].max() <= score[positions].min()


@given(scores_strategy, st.integers(0, 30))
def test_select_without_floors_in_the_way_takes_the_globally_lowest(lists, remove):
    scores = [torch.tensor(values, dtype=torch.float64) for values in lists]
    everything = sorted(value for values in lists for value in values)
    remove = min(remove, len(everything))
    kept, _ = select_across_blocks(scores, remove, floor=0)
    assert sorted(v for values, ids in zip(lists, kept) for v in np.array(values)[ids]) == everything[remove:]


@given(scores_strategy, st.integers(0, 30), st.integers(2, 8), st.integers(0, 1))
def test_rounding_never_removes_more_and_keeps_multiples_where_it_can(lists, remove, multiple, offset):
    scores = [torch.tensor(values) for values in lists]
    remove = min(remove, sum(len(values) - 1 for values in lists))
    kept, removed = select_across_blocks(scores, remove, floor=1, multiple=multiple, offset=offset)
    assert removed == sum(map(len, scores)) - sum(map(len, kept)) <= remove
    for score, positions in zip(scores, kept):
        assert (len(positions) + offset) % multiple == 0 or len(positions) == len(score)


@given(st.floats(0, 0.999), st.integers(1, 300), st.integers(1, 12), st.integers(1, 40))
def test_counts_and_rounds_lose_nothing(fraction, per_block, blocks, rounds):
    count = count_from_fraction(fraction, per_block, blocks)
    assert 0 <= count <= per_block * blocks * fraction + 1e-6
    assert count > per_block * blocks * fraction - 1
    shares = split_rounds(count, rounds)
    assert sum(shares) == count
    assert len(shares) <= rounds and all(share > 0 for share in shares)


def test_published_counts():
    assert count_from_fraction(0.25, 12, 11) == 33
    assert count_from_fraction(0.15, 12, 11) == 19
    assert count_from_fraction(0.25, 8, 7) == 14
    # 0.29 * 100 is 28.999.. in floating point
    assert count_from_fraction(0.29, 10, 10) == 29


def test_entropy_of_uniform_and_one_hot_maps():
    uniform = torch.full((2, 8, 8), 1 / 8)
    assert attention_entropy(uniform).tolist() == pytest.approx([3, 3])
    assert attention_entropy(torch.eye(8).expand(2, 8, 8)).tolist() == [0, 0]


def test_layer_weights_as_published():
    ones = [torch.ones(3), torch.ones(1), torch.ones(2)]
    # a block with one head does not advance the weight
    assert [round(s[0].item(), 4) for s in head_scores(ones, layer_weight=0.005)] == [1, 1.005, 1.005]
    weighted = token_scores([torch.tensor([3.0, 4.0])] * 3, layer_weight=0.015)
    assert [s[1].item() for s in weighted] == pytest.approx([0.8, 0.8 * 0.985, 0.8 * 0.97])
    assert token_scores([torch.zeros(3)], layer_weight=0.015)[0].tolist() == [0, 0, 0]


def test_token_score_is_the_absolute_signed_mean():
    attention, gradient = torch.rand(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    brute = [
        abs(
            sum(
                (attention * gradient)[b, h, q, j].item()
                for b in range(2)
                for h in range(3)
                for q in range(4)
            )
            / 24
        )
        for j in range(5)
    ]
    assert token_batch_scores(attention, gradient).tolist() == pytest.approx(brute, rel=1e-4, abs=1e-7)


def test_keeping_everything_changes_nothing():
    model = lite.pruned()
    whole = keep_tokens(keep_heads(model, [range(len(b.heads)) for b in model.architecture.blocks[:7]]), [])
    images, _, cameras = lite.batch()
    assert torch.allclose(whole(images, cameras), model(images, cameras), atol=1e-5)


def test_removed_heads_are_those_whose_output_vanishes():
    """Independently: zeroing the projection columns of a head silences it."""
    model, images = lite.model(), lite.batch()[0]
    silenced = copy.deepcopy(model)
    keep = [[0, 1, 2, 3, 4, 5]] * 7
    keep[2], keep[5] = [1, 4], [0]
    for block in (2, 5):
        weight = silenced.base.blocks[block].attn.proj.weight.data.view(192, 6, 32)
        weight[:, sorted({*range(6)} - set(keep[block]))] = 0
    with torch.no_grad():
        cut = keep_heads(model, keep)
        assert torch.allclose(cut(images), silenced(images), atol=1e-5)
    assert [len(block.heads) for block in cut.architecture.blocks] == [6, 6, 2, 6, 6, 1, 6]
    assert [len(block.heads) for block in model.architecture.blocks] == [6] * 7


def test_kv_mode_is_a_mask_on_the_keys():
    """Independently: minus infinity on the pruned keys' scores, every query kept."""
    model, (images, _, cameras) = lite.model(), lite.batch()
    keep = [sorted({0, *np.random.default_rng(i).choice(22, 9, replace=False).tolist()}) for i in range(7)]
    cut = keep_tokens(model, keep, mode="kv")
    masked = copy.deepcopy(model)
    for block, tokens in zip(masked.base.blocks, keep):
        block.attn = MaskedAttention(block.attn, tokens)
    with torch.no_grad():
        assert torch.allclose(cut(images, cameras), masked(images, cameras), atol=1e-5)
        assert not torch.allclose(cut(images, cameras), model(images, cameras), atol=1e-3)


class MaskedAttention(torch.nn.Module):
    def __init__(self, attn, tokens):
        super().__init__()
        self.attn, self.tokens = attn, tokens

    def forward(self, x):
        q, k, v = (p.unflatten(-1, (6, 32)).transpose(1, 2) for p in self.attn.qkv(x).chunk(3, dim=-1))
        scores = q @ k.transpose(-2, -1) * 32**-0.5
        hidden = torch.full((x.shape[1],), -torch.inf)
        hidden[self.tokens] = 0
        out = (scores + hidden).softmax(dim=-1) @ v
        return self.attn.proj(out.transpose(1, 2).flatten(2))


@settings(max_examples=12, deadline=None)
@given(
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.sampled_from(["heads_first", "tokens_first", "both"]),
    st.sampled_from(["bypass", "kv"]),
    st.integers(1, 3),
    st.integers(0, 100),
)
def test_a_pruned_model_can_be_pruned_again(heads, tokens, order, mode, rounds, seed):
    config = PruneConfig(
        order=order, mode=mode, heads=HeadConfig(fraction=heads / 2, rounds=rounds),
        tokens=TokenConfig(fraction=tokens / 2, rounds=rounds, floor=4),
    )  # fmt: skip
    model, batch = lite.model(seed), lite.batch(seed=seed)
    for again in (1, 2):
        model, records = prune_model(model, config, lambda: [batch], mean_feature, same)
        for what, per_block in (("heads", 6), ("tokens", 21)):
            requested = count_from_fraction((heads if what == "heads" else tokens) / 2, per_block, 7)
            assert sum(r["removed"] for r in records if r["what"] == what) == requested
            left = sum(len(getattr(block, what)) for block in model.architecture.blocks)
            assert left == 7 * (per_block + (what == "tokens")) - again * requested
        assert all(
            len(b.heads) >= 1 and len(b.tokens) >= 4 and b.tokens[0] == 0 for b in model.architecture.blocks
        )
    assert torch.isfinite(model(batch[0], batch[2])).all()


def test_floors_hold_and_say_what_is_possible():
    config = PruneConfig(heads=HeadConfig(count=36))
    with pytest.raises(ConfigError, match="at most 35"):
        prune_model(lite.model(), config, lambda: [lite.batch()], mean_feature, same)
    config = PruneConfig(heads=HeadConfig(count=35))
    model, _ = prune_model(lite.model(), config, lambda: [lite.batch()], mean_feature, same)
    assert [len(block.heads) for block in model.architecture.blocks] == [1] * 7


def test_rounding_reports_both_numbers():
    config = PruneConfig(
        heads=HeadConfig(count=10, multiple=2),
        tokens=TokenConfig(count=50, multiple=4, floor=4),
        order="both",
    )
    model, records = prune_model(lite.model(), config, lambda: [lite.batch()], mean_feature, same)
    assert [record["asked"] for record in records] == [10, 50]
    assert all(record["removed"] <= record["asked"] for record in records)
    assert all(len(block.heads) % 2 == 0 for block in model.architecture.blocks)
    assert all(len(block.tokens) % 4 == 0 or len(block.tokens) == 22 for block in model.architecture.blocks)


def test_rounding_goes_with_one_round_only():
    """One head a round and kept numbers even: every round would put its head back, and nothing would ever go."""
    with pytest.raises(ConfigError, match="rounds=1"):
        HeadConfig(count=10, rounds=10, multiple=2)


def test_scoring_uses_eval_mode_and_leaves_the_model_as_it_was():
    model = lite.model().train()
    before = copy.deepcopy(model.state_dict())
    batch = lite.batch()
    once = score_tokens(model, [batch], mean_feature), score_heads(model, [batch])
    twice = score_tokens(model, [batch], mean_feature), score_heads(model, [batch])
    # drop-path and batch statistics would make two passes differ
    assert all(torch.allclose(a, b, rtol=1e-4) for x, y in zip(once, twice) for a, b in zip(x, y))
    assert model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_mean_map_does_not_depend_on_how_images_are_batched():
    model, (images, labels, cameras) = lite.model(), lite.batch(5)
    parts = [(images[a:b], labels[a:b], cameras[a:b]) for a, b in ((0, 3), (3, 5))]
    for whole, split in zip(score_heads(model, [(images, labels, cameras)]), score_heads(model, parts)):
        assert torch.allclose(whole, split, atol=1e-5)
    per_image = score_heads(model, parts, entropy="per_image")
    # entropy is concave: the mean map's is at least the mean of the images'
    assert all((m >= p - 1e-5).all() for m, p in zip(score_heads(model, parts), per_image))


def test_not_finite_scores_and_no_images_are_refused():
    broken = lite.model()
    broken.base.blocks[3].attn.qkv.weight.data[0, 0] = torch.nan
    with pytest.raises(GateError, match="block 3"):
        score_heads(broken, [lite.batch()])
    with pytest.raises(GateError, match="not finite"):
        score_tokens(broken, [lite.batch()], mean_feature)
    with pytest.raises(DataError, match="--data"):
        score_heads(lite.model(), [])
    with pytest.raises(ConfigError, match="not finite"):
        select_across_blocks([torch.tensor([0.0, torch.nan])], 1, floor=1)


def test_choices_are_in_original_coordinates_on_a_pruned_model():
    model, batch = lite.pruned(), lite.batch()
    before = [set(block.tokens) for block in model.architecture.blocks]
    ids, removed = choose_tokens(score_tokens(model, [batch], mean_feature), model, 9, TokenConfig(floor=1))
    assert removed == 9
    assert all(set(kept) <= tokens - {0} for kept, tokens in zip(ids, before))
    positions, _ = choose_heads(score_heads(model, [batch]), 3, HeadConfig())
    heads = [block.heads for block in keep_heads(model, positions).architecture.blocks]
    assert all(set(new) <= set(old.heads) for new, old in zip(heads, model.architecture.blocks))


def test_token_mode_cannot_change_once_tokens_are_gone():
    with pytest.raises(ConfigError, match="bypass"):
        prune_model(lite.pruned(), PruneConfig(mode="kv"), lambda: [lite.batch()], mean_feature, same)
