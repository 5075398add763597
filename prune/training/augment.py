"""Random changes to whole batches of crops, as tensor operations. Random only through the generator given."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from runtime.spec import InputSpec

# Random erasing (Zhong et al., AAAI 2020): share of the image's area, and the range of height / width.
AREA = (0.02, 0.33)
ASPECT = (0.3, 1 / 0.3)
TRIES = 10


def flip(crops: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Each of (B, C, H, W) mirrored left to right with `probability`."""
    mirrored = torch.rand(len(crops), generator=generator) < probability
    return torch.where(mirrored[:, None, None, None], crops.flip(3), crops)


def shift(crops: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Each of (B, C, H, W) padded by `pad` zeros all round and cropped to its size at a random place."""
    if not pad:
        return crops
    height, width = crops.shape[2:]
    places = torch.randint(0, 2 * pad + 1, (len(crops), 2), generator=generator).tolist()
    padded = F.pad(crops, (pad, pad, pad, pad))
    return torch.stack(
        [image[:, top : top + height, left : left + width] for image, (top, left) in zip(padded, places)]
    )


def normalise(pixels: Tensor, spec: InputSpec) -> Tensor:
    """(B, 3, H, W) pixels 0..1 -> float32, (pixel - mean) / std, as runtime.images.preprocess.to_input computes it."""
    mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (spec.mean, spec.std))
    return (pixels - mean) / std


def erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """With `probability` one box of each (B, C, H, W) float image becomes standard normal noise per pixel.

    The box covers 2 to 33 % of the image, its aspect is log-uniform in 0.3 .. 3.3 (ten draws until one fits).
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
    """(top, left, height, width) of a box within the image, or None where no draw fits."""
    low, high = math.log(ASPECT[0]), math.log(ASPECT[1])
    for share, turn, down, right in torch.rand((TRIES, 4), generator=generator).tolist():
        area = (AREA[0] + share * (AREA[1] - AREA[0])) * height * width
        aspect = math.exp(low + turn * (high - low))
        tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < tall < height and 0 < wide < width:
            return int(down * (height - tall + 1)), int(right * (width - wide + 1)), tall, wide
    return None
