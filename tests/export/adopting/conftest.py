"""Crops for the adoption of the small foreign network."""

import pytest
from PIL import Image

from tests.fakes import foreign as fake


@pytest.fixture(scope="session")
def crops(tmp_path_factory):
    """Sixteen crops in a folder whose file names carry no identities."""
    root = tmp_path_factory.mktemp("crops")
    for index, crop in enumerate(fake.crops(16)):
        Image.fromarray(crop).save(root / f"{index:02}.png")
    return root
