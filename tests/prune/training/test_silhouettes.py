"""Silhouettes of rendered training pictures, and backgrounds replaced around them."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from prune.config.settings import TrainConfig
from prune.training import photography
from prune.training.data import generator, training_batches
from prune.training.silhouettes import read_silhouettes
from runtime.datasets import Item, parse_name
from runtime.errors import ConfigError, DataError
from runtime.spec import InputSpec

SPEC = InputSpec(height=64, width=32, layout="float-nchw", dataset="anny")
CONFIG = TrainConfig(identities=2, images=2, flip=0, pad=0, erasing=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four pictures: the person is a white box of its own place, all around is black."""
    root = tmp_path_factory.mktemp("silhouettes")
    (root / "bounding_box_train").mkdir()
    images, masks = {"query/none.jpg": {}}, [np.zeros(64 * 32, bool)]
    for number in range(4):
        mask = np.zeros((64, 32), bool)
        mask[8 + 8 * number : 24 + 8 * number, 6:26] = True
        name = f"bounding_box_train/{1 + number // 2:04d}_c{1 + number % 2}s1_000000_00.png"
        Image.fromarray(np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255).save(root / name)
        images[name] = {}
        masks.append(mask.ravel())
    (root / "anny.json").write_text(json.dumps({"size": [64, 32], "images": images}))
    np.savez(root / "masks.npz", visible=np.packbits(masks, axis=1))
    return root


def items_of(root):
    paths = sorted((root / "bounding_box_train").iterdir())
    return [Item(str(path), *parse_name(path.name, "anny")) for path in paths]


def test_a_silhouette_is_that_of_its_own_picture(root):
    items = items_of(root)
    person = read_silhouettes(items)(items[::-1], 64, 32)
    for item, share in zip(items[::-1], person):
        white = torch.from_numpy(np.array(Image.open(item.path))[..., 0] > 0)
        assert torch.equal(share[0] == 1, white)
        # the seam: a ring of one pixel
        assert int((share[0] == 0.5).sum()) == 18 * 22 - 16 * 20
    assert read_silhouettes(items)(items, 128, 64).shape == (4, 1, 128, 64)


def test_batches_keep_the_person_and_replace_the_rest(root):
    items = items_of(root)
    plain = training_batches(items, SPEC, CONFIG)(0)[0][0]
    changed = training_batches(items, SPEC, dataclasses.replace(CONFIG, background=1.0))(0)[0][0]
    person = plain == 1
    assert torch.equal(changed[person], plain[person])
    behind = ~torch.nn.functional.max_pool2d(person.float(), 3, 1, 1).bool()
    for before, after, where in zip(plain, changed, behind):
        assert (before[where] == -1).all() and not torch.equal(before[where], after[where])
    assert torch.equal(
        training_batches(items, SPEC, dataclasses.replace(CONFIG, background=1.0))(0)[0][0], changed
    )


def test_the_probability_is_per_picture():
    images, person = torch.rand(400, 3, 8, 4), torch.zeros(400, 1, 8, 4)
    changed = photography.background(images, person, 0.25, generator(3))
    share = (changed != images).flatten(1).any(dim=1).float().mean()
    # 400 draws: three standard deviations are 0.065
    assert abs(float(share) - 0.25) < 0.07
    assert torch.equal(photography.background(images, person, 0.0, generator(3)), images)


def test_what_has_no_masks_is_refused(root, tmp_path):
    (tmp_path / "bounding_box_train").mkdir()
    for item in items_of(root):
        target = tmp_path / "bounding_box_train" / item.path.rsplit("/", 1)[1]
        target.write_bytes(open(item.path, "rb").read())
    items = items_of(tmp_path)
    with pytest.raises(DataError, match=r"anny\.json .* train\.background=0"):
        training_batches(items, SPEC, dataclasses.replace(CONFIG, background=0.5))
    (tmp_path / "anny.json").write_text(
        json.dumps({"size": [64, 32], "images": {"bounding_box_train/x.jpg": {}}})
    )
    np.savez(tmp_path / "masks.npz", visible=np.zeros((1, 256), np.uint8))
    with pytest.raises(DataError, match=r"masks\.npz does not"):
        read_silhouettes(items)
    with pytest.raises(ConfigError, match="background"):
        TrainConfig(background=1.5)
