"""Pruning by other criteria than AMG's: what each looks at, and what goes."""

import pytest
import torch

from prune.config.load import load_config
from prune.config.settings import HeadConfig, PruneConfig, TokenConfig
from prune.scoring.amg import choose_heads, choose_tokens, measure_heads, measure_tokens, prune_model
from prune.scoring.model_scores import score_class_attention, score_magnitudes
from runtime.errors import ConfigError, DataError, GateError
from tests.fakes import lite


def mean_feature(model, images, labels, camera_ids):
    return model(images, camera_ids).square().mean()


def never(*arguments):
    raise AssertionError("this criterion needs neither images nor a loss")


def same(model, last):
    return model


def config(heads, tokens, *, seed=5, order="heads_first", weight=0.01, **changes):
    return PruneConfig(
        heads=HeadConfig(by=heads, count=9, layer_weight=weight, **changes),
        tokens=TokenConfig(by=tokens, count=30, floor=4, layer_weight=weight, **changes),
        seed=seed,
        order=order,
    )


def test_magnitudes_come_from_the_blocks_weights_alone():
    model = lite.pruned()
    magnitudes = score_magnitudes(model)
    assert [len(values) for values in magnitudes] == [len(block.heads) for block in model.architecture.blocks]
    for block, values in zip(model.base.blocks, magnitudes):
        qkv = block.attn.qkv.weight.unflatten(0, (3, -1, 32))
        bias = block.attn.qkv.bias.unflatten(0, (3, -1, 32))
        proj = block.attn.proj.weight.unflatten(1, (-1, 32))
        for head, value in enumerate(values):
            owned = torch.cat([part.flatten() for part in (qkv[:, head], bias[:, head], proj[:, head])])
            assert value.item() == pytest.approx(owned.norm().item(), rel=1e-5)


def test_the_smallest_head_goes_whatever_its_depth():
    model = lite.model()
    with torch.no_grad():
        for block in model.base.blocks:
            block.attn.qkv.weight[torch.arange(576) % 192 < 32] *= 0.01
            block.attn.proj.weight[:, :32] *= 0.01
        # deep weights ten times larger: still a seventh of the heads each
        for number, block in enumerate(model.base.blocks):
            block.attn.qkv.weight *= 10.0**number
    settings = HeadConfig(by="magnitude", layer_weight=5.0)
    kept, removed = choose_heads(measure_heads(model, PruneConfig(heads=settings), never), 7, settings)
    assert removed == 7 and kept == [[1, 2, 3, 4, 5]] * 7


def test_class_attention_is_the_mean_of_the_maps_first_rows():
    model = lite.pruned(mode="kv")
    batches = [lite.batch(3), lite.batch(2, seed=1)]
    scores = score_class_attention(model, batches)
    maps = []
    hooks = [
        block.attn.probe.register_forward_hook(lambda module, inputs, output: maps.append(output))
        for block in model.base.blocks
    ]
    with torch.no_grad():
        model.base(torch.cat([b[0] for b in batches]), torch.cat([b[2] for b in batches]))
    for hook in hooks:
        hook.remove()
    for values, attention, block in zip(scores, maps, model.architecture.blocks):
        assert len(values) == len(block.tokens) - 1
        assert values.tolist() == pytest.approx(attention[:, :, 0, 1:].mean(dim=(0, 1)).tolist(), rel=1e-4)


def test_class_attention_needs_images_and_finite_maps():
    with pytest.raises(DataError, match="tokens.*--data"):
        score_class_attention(lite.model(), [])
    broken = lite.model()
    broken.base.blocks[2].attn.qkv.weight.data[0, 0] = torch.nan
    with pytest.raises(GateError, match="block 2"):
        score_class_attention(broken, [lite.batch()])


def test_the_least_attended_tokens_go_relative_to_their_block():
    model = lite.model()
    attended = [torch.arange(1.0, 22), 1000 * torch.arange(1.0, 22), *[torch.ones(21)] * 5]
    settings = TokenConfig(by="class_attention", layer_weight=0.9)
    ids, _ = choose_tokens(attended, model, 10, settings)
    assert ids[0] == ids[1] == list(range(6, 22))
    assert all(len(kept) == 21 for kept in ids[2:])


def test_layer_weights_move_only_amgs_own_criteria():
    model, batch = lite.model(), lite.batch()
    unmoved = {}
    for heads, tokens in (("entropy", "importance"), ("magnitude", "class_attention"), ("random", "random")):
        architectures = [
            prune_model(model, config(heads, tokens, weight=w), lambda: [batch], mean_feature, same)[
                0
            ].architecture
            for w in (0.0, 0.14)
        ]
        unmoved[heads] = architectures[0] == architectures[1]
    assert unmoved == {"entropy": False, "magnitude": True, "random": True}


def test_random_choices_depend_on_the_seed_alone_and_need_no_images():
    settings = config("random", "random")
    first, records = prune_model(lite.model(), settings, never, never, same)
    assert [record["removed"] for record in records] == [9, 30]
    again, _ = prune_model(lite.model(seed=3), settings, never, never, same)
    assert again.architecture == first.architecture
    other, _ = prune_model(lite.model(), config("random", "random", seed=6), never, never, same)
    assert other.architecture != first.architecture


def test_random_removal_in_rounds_removes_what_one_round_does():
    once, _ = prune_model(lite.model(), config("random", "random"), never, never, same)
    rounds, records = prune_model(lite.model(), config("random", "random", rounds=4), never, never, same)
    assert len(records) == 8 and rounds.architecture == once.architecture


def test_measured_values_are_those_that_the_record_holds():
    model, batch = lite.model(), lite.batch()
    settings = config("magnitude", "class_attention", order="both")
    _, records = prune_model(model, settings, lambda: [batch], never, same)
    heads = measure_heads(model, settings, never)
    tokens = measure_tokens(model, settings, lambda: [batch], never)
    assert records[0]["scores"] == [values.tolist() for values in heads]
    assert records[1]["scores"] == [values.tolist() for values in tokens]


def test_a_file_chooses_the_criteria_and_a_wrong_one_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("prune: {heads: {by: magnitude}, tokens: {by: class_attention}}\n")
    prune = load_config(path).prune
    assert (prune.heads.by, prune.tokens.by) == ("magnitude", "class_attention")
    assert (PruneConfig().heads.by, PruneConfig().tokens.by) == ("entropy", "importance")
    with pytest.raises(ConfigError, match="heads.by 'size'"):
        HeadConfig(by="size")
    with pytest.raises(ConfigError, match="tokens.by"):
        load_config(path, ["prune.tokens.by=entropy"])
