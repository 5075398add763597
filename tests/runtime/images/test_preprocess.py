"""The device sees exactly the pixels that training saw."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from runtime.images.preprocess import resize, to_input
from runtime.spec import InputSpec

transforms = pytest.importorskip("torchvision.transforms", reason="torchvision is the oracle here")

MODES = {
    "bicubic": transforms.InterpolationMode.BICUBIC,
    "bilinear": transforms.InterpolationMode.BILINEAR,
}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("size", [(128, 64), (48, 24), (256, 128), (301, 97), (8, 9), (700, 333)])
@pytest.mark.parametrize("statistics", [{}, IMAGENET])
def test_equal_to_torchvision_resize_totensor_normalize(
    interpolation: str, size: tuple[int, int], statistics: dict
) -> None:
    image = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)
    spec = InputSpec(layout="float-nchw", interpolation=interpolation, **statistics)
    training = transforms.Compose(
        [
            transforms.Resize((spec.height, spec.width), interpolation=MODES[interpolation]),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
    )
    got = to_input(resize(image, spec)[None], spec)
    assert got.dtype == np.float32 and got.flags.c_contiguous
    np.testing.assert_array_equal(got[0], training(Image.fromarray(image)).numpy())


def test_uint8_input_is_the_resized_picture_itself() -> None:
    spec = InputSpec(height=32, width=16)
    image = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    got = to_input(resize(image, spec)[None], spec)
    assert got.shape == (1, 32, 16, 3) and got.dtype == np.uint8
    expected = transforms.Resize((32, 16), interpolation=MODES["bicubic"])(Image.fromarray(image))
    np.testing.assert_array_equal(got[0], np.asarray(expected))


def test_channel_order_stays_red_green_blue() -> None:
    spec = InputSpec(height=8, width=8, layout="float-nchw")
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert to_input(red, spec)[0, :, 0, 0].tolist() == [1, -1, -1]


@pytest.mark.parametrize("shape", [(2, 16, 32, 3), (2, 3, 32, 16), (32, 16, 3)])
def test_crops_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not uint8"):
        to_input(np.zeros(shape, np.uint8), InputSpec(height=32, width=16))
    with pytest.raises(ValueError, match="float"):
        to_input(np.zeros((2, 32, 16, 3)), dataclasses.replace(InputSpec(), height=32, width=16))
