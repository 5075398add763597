"""Weights of an ImageNet CNN for the stem of a hybrid model: matched by order, from files under either naming."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from prune.config.load import Config
from prune.config.model import ModelConfig
from prune.importing.initial import initial_model
from prune.model.architecture import unpruned
from prune.model.file import save_model
from prune.model.transreid import TransReID
from runtime.errors import ArtifactError, ConfigError
from tests.fakes import lite

HYBRID = Config(model=ModelConfig(variant="hybrid_lite", size=(64, 32), stride=8, cameras=3, identities=5))


@pytest.fixture(scope="module")
def cnn():
    torch.manual_seed(3)
    return timm.create_model("tf_efficientnet_lite0").state_dict()


@pytest.mark.parametrize(
    "rename",
    [lambda key, number: key, lambda key, number: "_conv_stem.weight" if not number else f"_{number}"],
)
def test_a_file_fills_the_stem_in_the_order_of_its_tensors(cnn, tmp_path, rename):
    path = tmp_path / "cnn.pth"
    torch.save({rename(key, number): value for number, (key, value) in enumerate(cnn.items())}, path)
    initial = initial_model(HYBRID, [str(path)])
    assert initial.parent is None and initial.random_parts == ("ViT",)
    stem = initial.model.base.stem.state_dict()
    shared = [key for key in stem if key in cnn]
    assert len(shared) > 150 and all(torch.equal(stem[key], cnn[key]) for key in shared)
    assert not stem["tokens.weight"].any() and not stem["skip.weight"].any()


def test_a_hybrid_starts_from_a_plain_vit_and_a_cnn(cnn, tmp_path):
    torch.save(cnn, tmp_path / "cnn.pth")
    plain = lite.model()
    save_model(plain, tmp_path / "vit.safetensors", lite.SPEC)
    initial = initial_model(HYBRID, [str(tmp_path / "vit.safetensors"), str(tmp_path / "cnn.pth")])
    images, _, cameras = lite.batch()
    with torch.no_grad():
        assert torch.equal(initial.model.eval()(images, cameras), plain(images, cameras))
    assert not initial.random_parts and len(initial.parent) == 64


def test_a_file_under_timms_names_may_be_in_any_order(cnn, tmp_path):
    # safetensors files are sorted
    save_file({key: value.contiguous() for key, value in cnn.items()}, tmp_path / "cnn.safetensors")
    stem = initial_model(HYBRID, [str(tmp_path / "cnn.safetensors")]).model.base.stem.state_dict()
    assert all(torch.equal(stem[key], cnn[key]) for key in stem if key in cnn)


def test_the_vit_of_a_hybrid_can_come_from_a_plain_vits_file(tmp_path):
    architecture = unpruned("vit_lite", height=64, width=32, stride=8, jpm=False)
    state = TransReID(architecture).state_dict()
    plain = {key.removeprefix("base."): value for key, value in state.items() if key.startswith("base.")}
    torch.save(plain, tmp_path / "vit.pth")
    initial = initial_model(HYBRID, [str(tmp_path / "vit.pth")])
    assert initial.random_parts == ("CNN",) and any("CNN" in line for line in initial.notes)
    assert torch.equal(initial.model.base.cls_token, plain["cls_token"])


def test_another_network_and_a_model_without_a_stem_are_refused(cnn, tmp_path):
    path = tmp_path / "cnn.pth"
    torch.save(timm.create_model("tf_efficientnet_lite1").state_dict(), path)
    with pytest.raises(ArtifactError, match="tf_efficientnet_lite0"):
        initial_model(HYBRID, [str(path)])
    torch.save(cnn, path)
    with pytest.raises(ConfigError, match="hybrid_lite"):
        initial_model(Config(model=ModelConfig(variant="vit_lite", size=(64, 32))), [str(path)])
