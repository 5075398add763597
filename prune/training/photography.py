"""Augmentations that imitate the differences between cameras: background, colour, tone curve, sharpness, JPEG, framing.

All of them work on whole batches, images (B, 3, H, W) with float pixels 0..1, and all randomness comes from the given
generator. They matter most for the transfer from rendered people to real people: data/demo/README.md has the gain that
`background` brought, and configs/train/demo.yaml says why the others are needed.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

GREY = (0.299, 0.587, 0.114)
# The range of JPEG qualities, from surveillance recordings to still pictures; the upper end is exclusive.
QUALITY = (30, 86)


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return uniform random numbers from `low` to `high` in a tensor of `shape`."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def background(images: Tensor, person: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Return the images. With `probability`, the background of an image is replaced by another image of the batch.

    `person` (B, 1, H, W) is the person's share of each pixel, 0..1. The new background is mirrored and recoloured, and half of the
    new backgrounds are blended with random blotches of colour. Without this augmentation, a model trained on rendered people may
    recognise them by the few places where they were rendered.
    """
    count, _, height, width = images.shape
    other = images[torch.randperm(count, generator=generator)].flip(3)
    blotches = torch.rand((count, 3, 4, 2), generator=generator)
    blotches = F.interpolate(blotches, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)
    share = torch.rand((count, 1, 1, 1), generator=generator)
    blended = torch.rand((count, 1, 1, 1), generator=generator) < 0.5
    behind = torch.where(blended, other * share + blotches * (1 - share), other)
    behind = colour(behind, 1, generator).clamp(0, 1)
    replaced = torch.rand((count, 1, 1, 1), generator=generator) < probability
    return torch.where(replaced, person * images + (1 - person) * behind, images)


def colour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return the images, each with its own random gamma, exposure, white balance, contrast and saturation, not clipped to 0..1.

    At strength 1, the natural logarithms of gamma, of the exposure and of each channel's gain (the white balance) are normally
    distributed with the standard deviations 0.25, 0.25 and 0.08. The factors of the contrast and the saturation are uniform in
    0.7 .. 1.3 and 0.4 .. 1.5.
    """
    count = len(images)

    def random_factor(sigma: float, channels: int) -> Tensor:
        return torch.exp(torch.randn((count, channels, 1, 1), generator=generator) * sigma * strength)

    changed = (
        images.clamp_min(1e-4) ** random_factor(0.25, 1) * random_factor(0.25, 1) * random_factor(0.08, 3)
    )
    middle = changed.mean(dim=(1, 2, 3), keepdim=True)
    changed = middle + (changed - middle) * (1 + strength * uniform(-0.3, 0.3, (count, 1, 1, 1), generator))
    grey = (changed * torch.tensor(GREY)[:, None, None]).sum(dim=1, keepdim=True)
    return grey + (changed - grey) * (
        1 + strength * uniform(-0.6, 0.5, (count, 1, 1, 1), generator)
    ).clamp_min(0)


def tone(images: Tensor, cameras: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Return the images. Each camera gets, with `probability`, a random linear tone curve, which all its images share.

    `cameras` (B,) are any whole numbers; equal numbers are the same camera. The curve maps 0 to a black point and 1 to a white point.
    The black point is uniform in -0.16 .. 0.16, plus a normally distributed number of standard deviation 0.04 per channel, which tints
    it. The white point is uniform in 0.85 .. 1.35. The result is clipped to 0..1.
    """
    distinct_cameras, curve = cameras.unique(return_inverse=True)
    count = len(distinct_cameras)
    black = uniform(-0.16, 0.16, (count, 1, 1, 1), generator)
    black = black + 0.04 * torch.randn((count, 3, 1, 1), generator=generator)
    white = uniform(0.85, 1.35, (count, 1, 1, 1), generator)
    used = torch.rand((count, 1, 1, 1), generator=generator) < probability
    black, white = torch.where(used, black, 0.0), torch.where(used, white, 1.0)
    return (black[curve] + (white - black)[curve] * images).clamp(0, 1)


def blur_matrix(length: int, sigma: float) -> Tensor:
    """Return a (length, length) matrix whose product with a line of pixels blurs it with 7 Gaussian taps; edge pixels are repeated.

    `sigma` is the standard deviation in pixels. An image is blurred by two products with such matrices, one along its rows and one
    along its columns. On a CPU, they take a tenth of the time of two depthwise convolutions.
    """
    taps = torch.arange(-3, 4)
    weights = torch.exp(-taps.square() / (2 * sigma**2))
    position = torch.arange(length)
    matrix = torch.zeros(length, length)
    for tap, weight in zip(taps.tolist(), weights / weights.sum()):
        matrix[position, (position + tap).clamp(0, length - 1)] += weight
    return matrix


def sharpness(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return the images blurred or sharpened: each image x becomes x + a (x - blurred x).

    The number a is random in -`strength` .. `strength`, but at least -1; a negative one blurs and a positive one sharpens. The blur
    is a Gaussian of 0.7 to 1.6 pixels, the same for the whole batch. The result is clipped to 0..1.
    """
    sigma = float(uniform(0.7, 1.6, (1,), generator))
    height, width = images.shape[2:]
    blurred = blur_matrix(height, sigma) @ images @ blur_matrix(width, sigma).T
    amount = strength * uniform(-1, 1, (len(images), 1, 1, 1), generator)
    return (images + amount.clamp_min(-1) * (images - blurred)).clamp(0, 1)


def jpeg(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Return the images. With `probability`, an image is compressed as JPEG, at a random quality of 30 to 85, and decoded again."""
    changed = images.clone()
    chosen = torch.rand(len(images), generator=generator) < probability
    qualities = torch.randint(*QUALITY, (len(images),), generator=generator).tolist()
    for index in chosen.nonzero().flatten().tolist():
        pixels = (images[index].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=qualities[index])
        with Image.open(file) as decoded:
            changed[index] = torch.from_numpy(np.array(decoded)).permute(2, 0, 1).float() / 255
    return changed


def warp(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return the images, each stretched by a random factor in both directions and moved by up to 5 % of its size.

    The logarithm of the horizontal factor is within -`strength` .. `strength`, and that of the vertical factor within half of this.
    The edge pixels are repeated. Detectors frame people differently, and resizing a narrow crop widens the person.
    """
    count = len(images)
    scale_x = torch.exp(uniform(-strength, strength, (count,), generator))
    scale_y = torch.exp(uniform(-strength / 2, strength / 2, (count,), generator))
    offset = uniform(-0.1, 0.1, (count, 2), generator)
    zero = torch.zeros(count)
    rows = [torch.stack([scale_x, zero, offset[:, 0]], 1), torch.stack([zero, scale_y, offset[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
