"""What the exports for every program share: a folder of check crops and the weights of a small pruned model."""

import numpy as np
import pytest
from PIL import Image

from prune.model.file import save_model
from tests.fakes import lite


@pytest.fixture(scope="package")
def crops(tmp_path_factory):
    """Eight smooth random crops of 64 x 32 pixels."""
    root, random = tmp_path_factory.mktemp("crops"), np.random.default_rng(0)
    for index in range(8):
        coarse = random.integers(0, 256, (8, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((32, 64), Image.Resampling.BICUBIC).save(root / f"{index}.png")
    return root


@pytest.fixture(scope="package")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(lite.pruned(), path, lite.SPEC)
    return path
