"""Photographic augmentation: each change against what it says it does, one image at a time."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from prune.config.load import load_config
from prune.config.settings import TrainConfig
from prune.training import photography
from prune.training.data import camera_augment, generator
from runtime.errors import ConfigError


def pictures(count: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 32, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["colour", "sharpness"])
def test_no_strength_changes_nothing(name):
    images = pictures()
    assert getattr(photography, name)(images, 0.0, generator(1)) == pytest.approx(images, abs=2e-4)


@pytest.mark.parametrize(
    "change",
    [
        lambda x, r: photography.colour(x, 1, r),
        lambda x, r: photography.tone(x, torch.arange(len(x)), 1, r),
        lambda x, r: photography.sharpness(x, 1, r),
        lambda x, r: photography.jpeg(x, 1, r),
        lambda x, r: photography.warp(x, 0.3, r),
    ],
)
def test_a_change_depends_on_the_generator_alone_and_leaves_its_input(change):
    images = pictures()
    before = images.clone()
    first, again, other = (change(images, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(images, before) and torch.equal(first, again)
    assert not torch.equal(first, other) and not torch.equal(first, images)


def test_a_grey_image_gets_one_colour_and_its_own():
    grey = torch.full((8, 3, 4, 4), 0.4)
    changed = photography.colour(grey, 1, generator(0))
    assert float((changed - changed[:, :, :1, :1]).abs().max()) < 1e-6
    assert len({tuple(np.round(image[:, 0, 0].tolist(), 4)) for image in changed}) == 8


def test_pictures_of_one_camera_share_a_tone_curve_and_it_is_a_clipped_straight_line():
    ramp = torch.linspace(0, 1, 64).expand(4, 3, 1, 64)
    changed = photography.tone(ramp, torch.tensor([7, -1, 7, 3]), 1, generator(4))
    assert torch.equal(changed[0], changed[2]) and not torch.equal(changed[0], changed[1])
    assert changed.min() >= 0 and changed.max() <= 1
    for line in changed.flatten(0, 1).squeeze(1):
        inside = line[(line > 0) & (line < 1)]
        steps = inside.diff()
        assert len(inside) > 30 and float((steps - steps.mean()).abs().max()) < 1e-5 < float(steps.mean())


def test_blacks_are_crushed_and_lifted_and_no_probability_leaves_them():
    dark = torch.zeros(400, 3, 1, 1)
    cameras = torch.arange(400)
    black = photography.tone(dark, cameras, 1, generator(2))[:, 0, 0, 0]
    assert 0.3 < float((black == 0).float().mean()) < 0.7 and 0.1 < float(black.max()) < 0.35
    assert torch.equal(photography.tone(dark, cameras, 0, generator(2)), dark)


def test_sharpness_moves_along_the_difference_to_scipys_gaussian():
    images = torch.from_numpy(gaussian_filter(pictures().numpy(), (0, 0, 1, 1))) * 0.5 + 0.2
    random = generator(5)
    changed = photography.sharpness(images, 1, random)
    random = generator(5)
    sigma = float(photography.uniform(0.7, 1.6, (1,), random))
    blurred = gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, 3, 3))
    difference = images.numpy() - blurred
    for before, after, along in zip(images.numpy(), changed.numpy(), difference):
        amount = ((after - before) * along).sum() / (along**2).sum()
        assert -1.001 <= amount <= 1.001
        assert after == pytest.approx(before + amount * along, abs=1e-5)


def test_jpeg_keeps_an_image_near_itself_and_its_share_of_images():
    images = torch.from_numpy(gaussian_filter(pictures(200).numpy(), (0, 0, 2, 2)))
    changed = photography.jpeg(images, 0.3, generator(1))
    touched = (changed != images).flatten(1).any(dim=1)
    assert 0.18 < float(touched.float().mean()) < 0.42
    assert 1e-4 < float((changed[touched] - images[touched]).abs().mean()) < 0.05


def test_a_warp_stretches_by_at_most_what_it_says():
    height, width, strength = 64, 64, 0.3
    across = torch.linspace(-1, 1, width).expand(50, 3, height, width)
    changed = photography.warp(across, strength, generator(9))
    # the middle row of a ramp: its slope is the stretch, wherever the edge is not repeated
    slopes = changed[:, 0, height // 2, 28:36].diff(dim=1).mean(dim=1) / (2 / (width - 1))
    assert math.exp(-strength) - 1e-3 <= float(slopes.min()) < 0.85
    assert 1.15 < float(slopes.max()) <= math.exp(strength) + 1e-3


def test_without_settings_the_pixels_stay_and_with_all_they_are_within_0_and_1():
    images = pictures()
    assert torch.equal(camera_augment(images, torch.zeros(6), TrainConfig(), generator(1)), images)
    config = TrainConfig(colour=1, tone=0.8, sharpness=1, jpeg=0.5, warp=0.3)
    changed = camera_augment(images, torch.arange(6) % 2, config, generator(1))
    assert changed.shape == images.shape and 0 <= float(changed.min()) < float(changed.max()) <= 1


@pytest.mark.parametrize(
    "setting", ["colour=-1", "tone=1.5", "jpeg=2", "warp=0.9", "average=1", "metric=centre", "temperature=0"]
)
def test_a_setting_out_of_range_is_named(setting):
    with pytest.raises(ConfigError, match=setting.split("=")[0]):
        load_config("configs/train/demo.yaml", [f"train.{setting}"])
