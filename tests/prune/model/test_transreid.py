"""Every variant builds and runs, also those that are broken in the published code."""

import pytest
import torch

from prune.model.architecture import unpruned
from prune.model.transreid import TransReID
from prune.model.variants import VARIANTS
from runtime.errors import ConfigError


@pytest.mark.parametrize("variant", sorted(VARIANTS))
@pytest.mark.parametrize("jpm", [True, False])
def test_every_variant_runs_with_and_without_the_jpm(variant, jpm):
    """deit_small with the JPM fails upstream (necks of 768), and so does AMG without it."""
    shape = unpruned(variant, height=64, width=32, stride=12, jpm=jpm, cameras=2, identities=3)
    model = TransReID(shape).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        features = model(images, torch.tensor([0, 1]))
        logits = model.logits(model.parts(images))
    assert features.shape == (2, VARIANTS[variant].width * (5 if jpm else 1)) == (2, shape.dim)
    assert [tuple(head.shape) for head in logits] == [(2, 3)] * (5 if jpm else 1)
    assert model.base.blocks[0].attn.scale == VARIANTS[variant].scale


def test_camera_rows_mean_and_none():
    shape = unpruned("vit_lite", height=64, width=32, cameras=3)
    model = TransReID(shape).eval()
    torch.nn.init.normal_(model.base.sie_embed)
    table = model.base.camera_table()
    assert torch.equal(table[:3], 3.0 * model.base.sie_embed)
    assert torch.allclose(table[3], table[:3].mean(dim=0)) and not table[4].any()
    images = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        assert torch.allclose(model(images), model(images, torch.tensor([3])), atol=1e-5)


def test_local_parts_are_divided_by_four_and_taken_before_the_necks():
    shape = unpruned("vit_lite", height=64, width=32)
    model = TransReID(shape).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        parts, features = model.parts(images), model(images)
    expected = torch.cat([parts[0], *(part / 4 for part in parts[1:])], dim=1)
    assert torch.allclose(features, expected, atol=1e-6)


@pytest.mark.parametrize("changes", [{"variant": "vit_huge"}, {"variant": "vit_lite", "height": 8}])
def test_shapes_that_cannot_be_built_say_why(changes):
    with pytest.raises(ConfigError, match="vit_base|at least 16"):
        unpruned(**changes)
