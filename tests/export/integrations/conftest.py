"""What the exports for every program share: a folder of check crops and the weights of a small pruned model."""

import pytest

from prune.model.file import save_model
from tests.fakes import lite
from tests.fakes.pictures import write_crops


@pytest.fixture(scope="package")
def crops(tmp_path_factory):
    """Eight smooth random crops of 64 x 32 pixels."""
    return write_crops(tmp_path_factory.mktemp("crops"), 8)


@pytest.fixture(scope="package")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(lite.pruned(), path, lite.SPEC)
    return path
