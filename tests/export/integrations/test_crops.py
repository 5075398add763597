"""Crops as Ultralytics and BoxMOT cut them: held to arrays that the installed packages made, and to Pillow and torch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from export.integrations import crops

DATA = Path(__file__).resolve().parents[2] / "data" / "tracker_crops" / "crops.npz"
SIZE = (16, 8)


@pytest.fixture(scope="module")
def recorded():
    with np.load(DATA) as file:
        return dict(file)


def test_ultralytics_crops_are_those_of_the_package(recorded):
    for box, expected in zip(recorded["boxes"], recorded["ultralytics"]):
        crop = crops.ultralytics_crop(recorded["frame"], box, SIZE)
        if np.isnan(expected).any():
            assert crop is None
        else:
            np.testing.assert_allclose(crop, expected, atol=1e-6)


def test_boxmot_crops_are_those_of_the_package_to_the_last_bit(recorded):
    for box, expected in zip(recorded["boxes"], recorded["boxmot"]):
        np.testing.assert_array_equal(crops.boxmot_crop(recorded["frame"], box, SIZE), expected)


def test_the_recorded_crops_tell_the_two_trackers_and_neighbouring_conventions_apart(recorded):
    frame, box = recorded["frame"], recorded["boxes"][0]
    theirs = recorded["ultralytics"][0]
    without_margin = crops.bilinear_float(frame[5:34, 10:21].astype(np.float32) / 255, SIZE)
    assert np.abs(without_margin.transpose(2, 0, 1) - theirs).max() > 0.01
    swapped = crops.ultralytics_crop(frame[..., ::-1], box, SIZE)
    assert np.abs(swapped - theirs).max() > 0.01
    left, top, right, bottom = crops.boxmot_corners(box, frame.shape)
    pillow = Image.fromarray(frame[top:bottom, left:right]).resize(SIZE[::-1], Image.Resampling.BILINEAR)
    ours = crops.bilinear_uint8(frame[top:bottom, left:right], SIZE)
    # Pillow averages over all pixels when it makes an image smaller
    assert np.abs(np.asarray(pillow).astype(int) - ours).max() > 3


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # 20 x 40 becomes 30.4 x 50.8 around (110, 120); corners are cut off, not rounded
        ([100, 100, 120, 140], (94, 94, 125, 145)),
        # beyond the edges of the frame
        ([0, 0, 20, 40], (0, 0, 25, 45)),
        ([180, 280, 200, 300], (174, 274, 200, 300)),
    ],
)
def test_the_margin_is_two_percent_and_ten_pixels_and_ends_at_the_frame(box, expected):
    assert crops.ultralytics_corners(box, (300, 200, 3)) == expected


def test_boxmot_rounds_halves_to_even_and_clips():
    assert crops.boxmot_corners([10.5, 11.5, 20.4, 400], (300, 200, 3)) == (10, 12, 20, 300)


def test_a_box_without_pixels_is_black_for_boxmot_and_nothing_for_ultralytics():
    frame = np.full((30, 20, 3), 200, np.uint8)
    outside = [50, 5, 60, 20]
    assert crops.ultralytics_crop(frame, outside, SIZE) is None
    black = crops.boxmot_crop(frame, outside, SIZE)
    np.testing.assert_allclose(black[:, 0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6)
    assert black.shape == (3, *SIZE)


@pytest.mark.parametrize("shape", [(30, 11), (16, 8), (5, 3), (1, 1), (200, 100), (17, 90)])
def test_float_resizing_is_torch_s_interpolate(shape):
    image = np.random.default_rng(0).random((*shape, 3), dtype=np.float32)
    planes = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    expected = torch.nn.functional.interpolate(planes, size=SIZE, mode="bilinear", align_corners=False)[0]
    resized = crops.bilinear_float(image, SIZE)
    np.testing.assert_allclose(resized.transpose(2, 0, 1), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("shape", [(30, 11), (16, 8), (5, 3), (1, 1), (32, 16), (200, 100), (17, 90)])
def test_whole_number_resizing_stays_within_a_grey_level_of_the_exact_mean(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    exact = crops.bilinear_float(image.astype(np.float32), SIZE)
    resized = crops.bilinear_uint8(image, SIZE)
    assert resized.dtype == np.uint8 and np.abs(resized - exact).max() < 1


def test_an_image_of_the_right_size_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crops.bilinear_uint8(image, SIZE), image)
