"""A small data set of people as patterns, and a foreign network to adopt with fewer numbers."""

import numpy as np
import pytest
from PIL import Image

from tests.fakes import foreign as fake


def person(number, crop, noise=25):
    """Return a crop (HEIGHT, WIDTH, 3) uint8: the pattern of a person, with noise of its own."""
    coarse = np.random.default_rng(number).integers(0, 256, (8, 4, 3))
    pattern = np.repeat(np.repeat(coarse, fake.HEIGHT // 8, axis=0), fake.WIDTH // 4, axis=1)
    own = np.random.default_rng([number, crop]).normal(0, noise, pattern.shape)
    return np.clip(pattern + own, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """A data set in the layout of Market-1501: twelve people to train, ten to test."""
    root = tmp_path_factory.mktemp("people")
    for folder, first, count, crops in (
        ("bounding_box_train", 1, 12, range(4)),
        ("query", 101, 10, range(1)),
        ("bounding_box_test", 101, 10, range(1, 4)),
    ):
        (root / folder).mkdir()
        for pid in range(first, first + count):
            for crop in crops:
                name = f"{pid:04d}_c{crop + 1}s1_{crop:06d}_00.png"
                Image.fromarray(person(pid, crop)).save(root / folder / name.replace(".png", ".jpg"), "PNG")
    return root
