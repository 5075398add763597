"""Weights of an ImageNet CNN for the stem of a hybrid model: matched by order, from files under either naming."""

import pytest
import timm
import torch

from prune.config.load import Config
from prune.config.settings import ModelConfig
from prune.importing.initial import initial_model
from prune.model.file import save_model
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
    assert initial.parent is None and len(initial.notes) == 1
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
    assert any("stem" in line for line in initial.notes) and len(initial.parent) == 64


def test_another_network_and_a_model_without_a_stem_are_refused(cnn, tmp_path):
    path = tmp_path / "cnn.pth"
    torch.save(timm.create_model("tf_efficientnet_lite1").state_dict(), path)
    with pytest.raises(ArtifactError, match="tf_efficientnet_lite0"):
        initial_model(HYBRID, [str(path)])
    torch.save(cnn, path)
    with pytest.raises(ConfigError, match="hybrid_lite"):
        initial_model(Config(model=ModelConfig(variant="vit_lite", size=(64, 32))), [str(path)])
