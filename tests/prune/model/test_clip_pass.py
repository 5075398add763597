"""What CLIP-ReID and PASS have beside a plain ViT: tokens, cameras, necks, classifiers, losses and pruning."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from prune.config.settings import HeadConfig, MlpConfig, PruneConfig, TokenConfig, TrainConfig
from prune.model.architecture import Architecture, unpruned
from prune.model.block import Block
from prune.model.surgery import keep_tokens
from prune.model.variants import VARIANTS
from prune.scoring.amg import prune_model
from prune.training.losses import batch_hard_triplet, training_loss
from prune.training.objective import Objective
from runtime.errors import ConfigError
from tests.fakes import lite

PASS = ["pass", "pass_mean", "pass_one_neck", "pass_mean_one_neck"]
FAMILIES = ["clip", *PASS]
# each token's share of a fused PASS feature, written out by hand
SHARES = {"cat": [[1, 0, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3]], "mean": [[1 / 2, 1 / 6, 1 / 6, 1 / 6]]}


def model(family, **changes):
    return lite.model(family=family, jpm=False, cameras=3 if family == "clip" else 0, **changes)


def last_tokens(network, images, cameras=None):
    return network.base.norm(network.base(images, cameras))


def neck(network, feature, suffix=""):
    layer = getattr(network, f"bottleneck{suffix}")
    return (feature - layer.running_mean) / (layer.running_var + 1e-5).sqrt() * layer.weight + layer.bias


def fused(tokens, family):
    shares = torch.tensor(SHARES["mean" if "mean" in family else "cat"])
    return torch.einsum("st,btd->bsd", shares, tokens).flatten(1)


def test_the_activation_of_clip_is_x_times_a_sigmoid():
    block = Block(VARIANTS["clip_base"], 12)
    x = torch.linspace(-6, 6, 41, dtype=torch.float64)
    assert torch.allclose(block.mlp.act(x), x / (1 + (-1.702 * x).exp()), atol=1e-12)
    assert block.norm1.eps == block.norm2.eps == 1e-5


def test_the_camera_of_clip_changes_the_class_token_only_and_before_the_first_norm():
    network, images = model("clip"), lite.batch(3)[0]
    given = {}
    network.base.norm_pre.register_forward_hook(lambda _, tokens, output: given.update(x=tokens[0]))
    with torch.no_grad():
        network(images, torch.full((3,), 4))
        without = given["x"]
        network(images, torch.tensor([0, 1, 3]))
    table = 3.0 * network.base.sie_embed[:, 0]
    expected = torch.stack([table[0], table[1], table.mean(dim=0)])
    assert torch.allclose(given["x"][:, 0] - without[:, 0], expected, atol=1e-5)
    assert torch.equal(given["x"][:, 1:], without[:, 1:])


@pytest.mark.parametrize("after", [False, True])
def test_the_descriptor_of_clip_is_the_class_token_and_its_projection(after):
    network, (images, _, cameras) = model("clip", neck="after" if after else "before"), lite.batch(3)
    with torch.no_grad():
        parts = [last_tokens(network, images, cameras)[:, 0]]
        parts.append(parts[0] @ network.output.proj.weight.T)
        if after:
            parts = [neck(network, part, suffix) for part, suffix in zip(parts, ["", "_proj"])]
        assert torch.allclose(network(images, cameras), torch.cat(parts, dim=1), atol=1e-5)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("family", PASS)
def test_the_descriptor_of_pass_is_made_of_four_tokens(family, after):
    network, images = model(family, neck="after" if after else "before"), lite.batch(3)[0]
    with torch.no_grad():
        tokens = last_tokens(network, images)[:, :4]
        if after and "one_neck" in family:
            expected = neck(network, fused(tokens, family))
        elif after:
            suffixes = ["", "_1", "_2", "_3"]
            necked = [neck(network, tokens[:, index], suffix) for index, suffix in enumerate(suffixes)]
            expected = fused(torch.stack(necked, dim=1), family)
        else:
            expected = fused(tokens, family)
        assert torch.allclose(network(images), expected, atol=1e-5)


@pytest.mark.parametrize("family", PASS)
def test_pass_has_one_classifier_and_compares_descriptors(family):
    network, (images, labels, _) = model(family), lite.batch(4)
    network.eval()
    labels = labels // 2
    with torch.no_grad():
        before, after = (lite.with_architecture(network, neck=where)(images) for where in ("before", "after"))
        identity = F.cross_entropy(after @ network.classifier.weight.T, labels)
        expected = identity + batch_hard_triplet(before, labels)
        assert training_loss(network, images, labels, None).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_fine_tuning_reaches_every_neck_and_classifier(family):
    network, (images, labels, cameras) = model(family).train(), lite.batch(4)
    cameras = cameras if family == "clip" else None
    loss, _ = Objective(network, TrainConfig())(images, labels // 2, cameras, None)
    loss.backward()
    without = [key for key, value in network.named_parameters() if value.requires_grad and value.grad is None]
    assert without == []
    assert sum("classifier" in key for key, _ in network.named_parameters()) == (2 if family == "clip" else 1)


@pytest.mark.parametrize("order", ["heads_first", "both"])
@pytest.mark.parametrize("family", FAMILIES)
def test_amg_prunes_heads_tokens_and_neurons_but_no_leading_token(family, order):
    network, (images, labels, cameras) = model(family), lite.batch(4)
    batch = (images, labels // 2, cameras if family == "clip" else None)
    config = PruneConfig(
        order=order,
        heads=HeadConfig(count=9),
        tokens=TokenConfig(count=60, floor=6),
        mlp=MlpConfig(pruned=0.25, multiple=1),
    )
    pruned, _ = prune_model(network, config, lambda: [batch], training_loss, lambda model, last: model)
    blocks, leading = pruned.architecture.blocks, 1 if family == "clip" else 4
    assert sum(6 - len(block.heads) for block in blocks) == 9
    assert sum(network.architecture.tokens - len(block.tokens) for block in blocks) == 60
    assert sum(768 - hidden for hidden in pruned.architecture.hidden) == 7 * 192
    assert all(block.tokens[:leading] == tuple(range(leading)) for block in blocks)
    assert min(len(block.tokens) for block in blocks) >= 6
    assert Architecture.from_json(pruned.architecture.to_json()) == pruned.architecture


def test_a_part_token_cannot_be_left_out():
    network = model("pass")
    assert keep_tokens(network, [[9]]).architecture.blocks[0].tokens == (0, 1, 2, 3, 9)
    first, *rest = network.architecture.blocks
    with pytest.raises(ConfigError, match="first 4 tokens"):
        network.architecture.with_blocks((dataclasses.replace(first, tokens=(0, 1, 2, 9)), *rest))


@pytest.mark.parametrize("changes", [{"jpm": True}, {"cameras": 6}, {"pooling": "avg"}])
def test_pass_has_no_cameras_no_jpm_and_no_pooling(changes):
    with pytest.raises(ConfigError, match="model.family pass"):
        unpruned("deit_small", family="pass", **({"jpm": False} | changes))
