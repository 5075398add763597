"""ImageNet weights under our names, against timm's own forward pass; nothing is downloaded."""

import pytest
import timm
import torch
from torch.nn import functional as F

from prune.importing import imagenet
from prune.importing.imagenet import imagenet_state, initialise, pretrained, read_weights
from prune.model.architecture import unpruned
from prune.model.transreid import TransReID
from runtime.errors import ArtifactError, ConfigError


@pytest.fixture(scope="module")
def plain():
    torch.manual_seed(0)
    model = timm.create_model("vit_base_patch16_224", pretrained=False).eval()
    torch.nn.init.normal_(model.pos_embed, std=0.3)
    return model


def test_the_plain_model_computes_what_timm_computes(plain):
    model = TransReID(unpruned("vit_base", height=224, width=224, jpm=False)).eval()
    initialise(model, plain.state_dict(), "timm")
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = plain.forward_features(images)[:, 0]
        assert torch.allclose(model(images), expected, atol=1e-5)


def test_both_branches_get_their_own_copy_of_the_last_block_and_the_norm(plain):
    model = TransReID(unpruned("vit_base", stride=12, cameras=2, identities=3))
    state = plain.state_dict()
    initialise(model, state, "timm")
    for branch in (model.b1, model.b2):
        assert torch.equal(branch[0].mlp.fc1.weight, state["blocks.11.mlp.fc1.weight"])
        assert torch.equal(branch[1].weight, state["norm.weight"])
    with torch.no_grad():
        model.b1[0].mlp.fc1.weight.zero_()
    assert model.b2[0].mlp.fc1.weight.abs().sum() > 0


def test_position_embedding_is_resampled_bilinearly_and_keeps_the_class_token():
    vit = unpruned("vit_lite", stride=12)
    source = {"cls_token": torch.zeros(1, 1, 192), "pos_embed": torch.randn(1, 197, 192)}
    positions = imagenet_state(source, vit)["base.pos_embed"]
    grid = source["pos_embed"][:, 1:].reshape(1, 14, 14, 192).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (21, 10), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
    assert torch.equal(positions[:, 0], source["pos_embed"][:, 0])
    assert torch.allclose(positions[:, 1:], expected, atol=1e-6)


def test_a_distilled_model_loses_its_second_token_and_classifiers():
    source = {
        "cls_token": torch.zeros(1, 1, 192),
        "dist_token": torch.ones(1, 1, 192),
        "pos_embed": torch.arange(198.0).reshape(1, 198, 1).expand(1, 198, 192),
        "head.weight": torch.zeros(5, 192),
        "head_dist.weight": torch.zeros(5, 192),
    }
    shape = unpruned("vit_lite", height=224, width=224)
    state = imagenet_state(source, shape)
    assert sorted(state) == ["base.cls_token", "base.pos_embed"]
    assert state["base.pos_embed"][0, :, 0].tolist() == [0, *range(2, 198)]


def test_another_variants_weights_are_refused_by_name(plain):
    model = TransReID(unpruned("vit_lite"))
    with pytest.raises(ArtifactError, match=r"weights.pth.*vit_lite"):
        initialise(model, plain.state_dict(), "weights.pth")
    with pytest.raises(ArtifactError, match="resnet.pth.*pos_embed"):
        initialise(model, {"conv1.weight": torch.zeros(1)}, "resnet.pth")


def test_a_pth_file_is_read_with_the_restricted_unpickler(tmp_path):
    torch.save({"model": {"module.cls_token": torch.ones(1)}}, tmp_path / "w.pth")
    assert list(read_weights(tmp_path / "w.pth")) == ["cls_token"]


def test_no_network_is_one_line_with_the_next_step(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host\nand a long traceback")

    monkeypatch.setattr(imagenet.timm, "create_model", offline)
    with pytest.raises(
        ArtifactError,
        match=r"no route to host and a long traceback.*--init FILE",
    ):
        pretrained(unpruned("vit_base"))
    with pytest.raises(ConfigError, match="vit_small"):
        pretrained(unpruned("vit_small"))
