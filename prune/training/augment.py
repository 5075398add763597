"""Random augmentation of whole batches of crops, as tensor operations. All randomness comes from the given generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from runtime.spec import InputSpec

# Random erasing (Zhong et al., AAAI 2020): the ranges of the box's share of the image area and of its height / width.
AREA = (0.02, 0.33)
ASPECT = (0.3, 1 / 0.3)
TRIES = 10


def flip(crops: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Return `crops` (B, C, H, W), each image mirrored left to right with `probability`."""
    mirrored = torch.rand(len(crops), generator=generator) < probability
    return torch.where(mirrored[:, None, None, None], crops.flip(3), crops)


def shift(crops: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Return `crops` (B, C, H, W), each padded by `pad` pixels of zeros on every side and cropped to its former size at random."""
    if not pad:
        return crops
    height, width = crops.shape[2:]
    offsets = torch.randint(0, 2 * pad + 1, (len(crops), 2), generator=generator).tolist()
    padded = F.pad(crops, (pad, pad, pad, pad))
    return torch.stack(
        [image[:, top : top + height, left : left + width] for image, (top, left) in zip(padded, offsets)]
    )


def normalise(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Return (pixels - mean) / std, float32, with the mean and std of `spec`, as runtime.images.preprocess.to_input does.

    `pixels` are (B, 3, H, W) RGB in 0..1.
    """
    mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (spec.mean, spec.std))
    return (pixels - mean) / std


def erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Return the images (B, C, H, W) float, each with one box replaced, with `probability`, by standard normal noise per pixel.

    The box covers 2 to 33 % of the image. Its height / width is log-uniform in 0.3 .. 3.3. Boxes are drawn until
    one fits into the image; after ten that do not fit, the image stays unchanged.
    """
    erased = images.clone()
    chosen = torch.rand(len(images), generator=generator) < probability
    for index in chosen.nonzero().flatten().tolist():
        if box := _box(*images.shape[2:], generator):
            top, left, height, width = box
            noise = torch.randn((images.shape[1], height, width), generator=generator)
            erased[index, :, top : top + height, left : left + width] = noise
    return erased


def _box(height: int, width: int, generator: torch.Generator) -> tuple[int, int, int, int] | None:
    """Return (top, left, height, width) of a random box inside the image, or None if none of TRIES boxes fits."""
    low, high = math.log(ASPECT[0]), math.log(ASPECT[1])
    for area_draw, aspect_draw, top_draw, left_draw in torch.rand((TRIES, 4), generator=generator).tolist():
        area = (AREA[0] + area_draw * (AREA[1] - AREA[0])) * height * width
        aspect = math.exp(low + aspect_draw * (high - low))
        box_height, box_width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_height < height and 0 < box_width < width:
            top = int(top_draw * (height - box_height + 1))
            left = int(left_draw * (width - box_width + 1))
            return top, left, box_height, box_width
    return None
