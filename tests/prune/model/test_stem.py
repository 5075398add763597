"""The stem of a hybrid model: what a new one changes, its constant matrices, and its frozen batch statistics."""

import pytest
import torch
from torch.nn import functional as F

from prune.model.stem import bilinear, stripe_means
from prune.model.surgery import keep_heads, keep_tokens
from prune.model.transreid import TransReID
from tests.fakes import lite


@pytest.mark.parametrize("jpm", [True, False])
def test_a_new_stem_changes_no_feature(jpm):
    plain = lite.model(jpm=jpm)
    hybrid = TransReID(lite.architecture("hybrid_lite", jpm=jpm)).eval()
    assert not hybrid.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    images, _, cameras = lite.batch()
    with torch.no_grad():
        assert torch.equal(hybrid(images, cameras), plain(images, cameras))


def test_its_features_reach_the_tokens_and_every_part_of_the_descriptor():
    network = lite.model(variant="hybrid_lite")
    images, _, cameras = lite.batch()
    with torch.no_grad():
        tokens, parts = network.base(images, cameras), network.parts(images, cameras)
        network.base.stem.skip.bias += 1
        assert all(
            (after - before - 1).abs().max() < 1e-4
            for before, after in zip(parts, network.parts(images, cameras))
        )
        network.base.stem.tokens.weight.zero_()
        assert (network.base(images, cameras) - tokens).abs().max() > 0.01


def test_training_leaves_the_batch_statistics_alone():
    network = lite.model(variant="hybrid_lite").train()
    before = {key: value.clone() for key, value in network.base.stem.state_dict().items()}
    images, _, cameras = lite.batch()
    sum(part.square().sum() for part in network.parts(images, cameras)).backward()
    after = network.base.stem.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert network.base.stem.conv_stem.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("source", "target"), [((8, 4), (10, 5)), ((4, 2), (7, 3)), ((5, 3), (5, 3))])
def test_constant_matrices_resize_as_torch_does(source, target):
    maps = torch.randn(2, 3, *source)
    resized = F.interpolate(maps, target, mode="bilinear", align_corners=False)
    assert torch.allclose(maps.flatten(2) @ bilinear(source, target).T, resized.flatten(2), atol=1e-6)


def test_stripes_are_means_over_rows_in_which_the_edges_count_less():
    maps = torch.randn(2, 3, 8, 4)
    weights = torch.tensor([0.4, 1, 1, 0.4]) / 2.8
    rows = (maps * weights).sum(dim=3)
    means = torch.stack([rows[:, :, row : row + 2].mean(dim=2) for row in range(0, 8, 2)], dim=2)
    assert torch.allclose(maps.flatten(2) @ stripe_means((8, 4), 4).T, means, atol=1e-6)
    # every row of the matrix is a mean, also on a map that is narrower than four columns
    assert torch.allclose(stripe_means((5, 3), 2).sum(dim=1), torch.ones(2))


def test_surgery_keeps_the_stem():
    network = lite.model(variant="hybrid_lite")
    smaller = keep_tokens(keep_heads(network, [[0, 2]] * 7), [[1, 2, 3, 5]] * 7)
    mine, theirs = network.base.stem.state_dict(), smaller.base.stem.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
