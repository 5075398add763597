"""Training batches: who is in them, and what augmentation does to pixels."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from prune.config.settings import TrainConfig
from prune.training import augment
from prune.training.data import (
    Crops,
    generator,
    label_map,
    pk_batches,
    prefetched,
    scoring_batches,
    training_batches,
)
from runtime.datasets import Item
from runtime.errors import ConfigError, DataError
from runtime.images.preprocess import to_input
from runtime.spec import InputSpec

SPEC = InputSpec(height=32, width=16, layout="float-nchw", camera="input", cameras=2, dataset="anny")


@pytest.fixture
def items(tmp_path):
    """Four people, five crops each by two cameras; every crop is one colour of its own."""
    people = []
    for index in range(20):
        path = tmp_path / f"{index:02d}.png"
        Image.new("RGB", (20, 40), (index * 12, 255 - index * 12, 128)).save(path)
        people.append(Item(str(path), pid=[7, 30, 2, 111][index % 4], camid=index % 2))
    return people


def test_labels_follow_the_order_of_person_ids():
    items = [Item("", pid, 0) for pid in (30, 2, 111, 2, 7)]
    assert label_map(items) == {2: 0, 7: 1, 30: 2, 111: 3}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 11), min_size=3, max_size=9),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_every_batch_is_p_identities_with_k_images_each(sizes, identities, images, seed):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    batches = pk_batches(labels, identities=identities, images=images, seed=seed, epoch=0)
    used = Counter(index for batch in batches for index in batch)
    for batch in batches:
        groups = [{labels[index] for index in batch[at : at + images]} for at in range(0, len(batch), images)]
        assert len(batch) == identities * images
        assert all(len(group) == 1 for group in groups) and len(set.union(*groups)) == identities
    for index, times in used.items():
        # Only an identity with fewer than K images may show one twice.
        assert times == 1 or sizes[labels[index]] < images
    left = Counter({label: max(size // images, 1) for label, size in enumerate(sizes)})
    left.subtract(Counter(labels[batch[at]] for batch in batches for at in range(0, len(batch), images)))
    assert sum(count > 0 for count in left.values()) < identities and min(left.values()) >= 0


def test_batches_depend_on_seed_and_epoch_alone():
    labels = [label for label in range(6) for _ in range(8)]

    def draw(seed, epoch):
        return pk_batches(labels, identities=3, images=4, seed=seed, epoch=epoch)

    assert draw(1, 2) == draw(1, 2)
    assert draw(1, 2) != draw(1, 3) and draw(1, 2) != draw(2, 2)


def test_too_few_identities_name_the_key_to_lower():
    with pytest.raises(ConfigError, match=r"3 identities.* 2; set train\.identities"):
        pk_batches([0, 0, 1], identities=3, images=2, seed=0, epoch=0)


def test_scoring_batches_are_the_plain_crops_with_their_labels_and_cameras(items):
    batches = list(scoring_batches(items, SPEC, identities=2, images=2, batches=7, seed=3))
    assert len(batches) == 7
    names = {pid: label for label, pid in enumerate((2, 7, 30, 111))}
    for images, labels, cameras in batches:
        assert images.dtype == torch.float32 and images.shape == (4, 3, 32, 16)
        red = ((images[:, 0, 0, 0] * 0.5 + 0.5) * 255 / 12).round().long().tolist()
        assert labels.tolist() == [names[items[index].pid] for index in red]
        assert cameras.tolist() == [items[index].camid for index in red]
        assert torch.equal(images.amax(dim=(2, 3)), images.amin(dim=(2, 3)))


def test_scoring_without_a_number_is_one_epoch_and_without_a_table_has_no_cameras(items):
    spec = InputSpec(height=32, width=16, layout="float-nchw")
    batches = list(scoring_batches(items, spec, identities=2, images=2))
    assert 3 <= len(batches) <= 4
    assert all(cameras is None for _, _, cameras in batches)


def test_a_training_batch_can_be_made_again_alone(items):
    config = TrainConfig(identities=2, images=2, seed=5)
    epoch = training_batches(items, SPEC, config)(3)
    again = training_batches(items, SPEC, TrainConfig(identities=2, images=2, seed=5, cache_mib=0))(3)
    every = list(prefetched(epoch, 0, workers=3))
    assert len(every) == len(epoch) >= 3
    for step in (2, 0):
        assert all(torch.equal(first, second) for first, second in zip(every[step], again[step]))
    assert not torch.equal(every[0][0], training_batches(items, SPEC, config)(4)[0][0])


def test_processes_share_a_batchs_identities(items):
    config = TrainConfig(identities=4, images=2, flip=0, pad=0, erasing=0)
    whole = training_batches(items, SPEC, config)(0)[0]
    parts = [training_batches(items, SPEC, config, rank=rank, ranks=2)(0)[0] for rank in range(2)]
    for index in range(3):
        assert torch.equal(whole[index], torch.cat([part[index] for part in parts]))
    with pytest.raises(ConfigError, match=r"train\.identities 4 .*multiple of 3"):
        training_batches(items, SPEC, config, ranks=3)(0)
    with pytest.raises(ConfigError, match="at least 8"):
        training_batches(items, SPEC, config, ranks=4)(0)


def test_the_cache_stops_growing_at_its_limit_and_changes_no_pixel(items, monkeypatch):
    wide = InputSpec(height=512, width=512)
    crops = Crops(items, wide, cache_mib=1)
    first = crops([0, 1, 2])
    read = []
    monkeypatch.setattr(
        "prune.training.data.load_image", lambda path: read.append(path) or np.zeros((9, 9, 3), np.uint8)
    )
    second = crops([0, 1, 2])
    # One crop has 0.75 MiB: the first stays, the others are read again.
    assert read == [items[1].path, items[2].path]
    assert np.array_equal(first[0], second[0])


def test_an_unreadable_crop_is_named(items, tmp_path):
    (tmp_path / "05.png").write_bytes(b"no picture")
    epoch = training_batches(items, SPEC, TrainConfig(identities=4, images=5))(0)
    with pytest.raises(DataError, match="05.png"):
        list(prefetched(epoch, 0, workers=2))


def test_normalisation_is_the_runtimes_own():
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 16, 3), dtype=np.uint8)
    spec = InputSpec(height=32, width=16, layout="float-nchw", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    ours = augment.normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255, spec)
    assert np.array_equal(ours.numpy(), to_input(crops, spec))


def test_flip_mirrors_whole_images_at_its_rate():
    crops = torch.arange(1000 * 3 * 2 * 4, dtype=torch.float32).reshape(1000, 3, 2, 4)
    flipped = augment.flip(crops, 0.5, generator(1))
    mirrored = [torch.equal(new, old.flip(2)) for new, old in zip(flipped, crops)]
    kept = [torch.equal(new, old) for new, old in zip(flipped, crops)]
    assert all(is_mirrored != is_kept for is_mirrored, is_kept in zip(mirrored, kept))
    assert 430 < sum(mirrored) < 570
    assert torch.equal(augment.flip(crops, 0, generator(1)), crops)


def test_shift_is_a_crop_of_the_padded_image_anywhere_within_the_padding():
    crops = torch.arange(1, 1 + 6 * 4, dtype=torch.uint8).reshape(1, 1, 6, 4).expand(400, 3, -1, -1)
    moved = augment.shift(crops, 2, generator(2))
    padded = torch.zeros(10, 8, dtype=torch.uint8)
    padded[2:8, 2:6] = crops[0, 0]
    places = {
        tuple(padded[top : top + 6, left : left + 4].flatten().tolist())
        for top in range(5)
        for left in range(5)
    }
    moved_to = {tuple(image[0].flatten().tolist()) for image in moved}
    assert moved.shape == crops.shape and moved_to == places


def test_erasing_puts_noise_into_one_box_of_2_to_33_percent():
    images = torch.full((600, 3, 64, 32), 7.0)
    erased = augment.erase(images, 0.5, generator(3))
    noise = []
    for image in erased:
        hit = (image != 7).all(dim=0)
        if not hit.any():
            assert (image == 7).all()
            continue
        rows, columns = hit.any(dim=1).nonzero().flatten(), hit.any(dim=0).nonzero().flatten()
        area = len(rows) * len(columns)
        # A box: all of its pixels, rows and columns without gaps. Sides are rounded, hence the slack.
        assert int(hit.sum()) == area == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert 0.015 < area / (64 * 32) < 0.35
        noise.append(image[:, hit].flatten())
    assert 240 < len(noise) < 360
    values = torch.cat(noise)
    assert abs(float(values.mean())) < 0.02 and abs(float(values.std()) - 1) < 0.02
    assert (images == 7).all()
