"""How cameras differ, as random changes of whole batches: colour, tone curve, sharpness, JPEG, framing.

Random only through the generator given. Pixels are floats 0..1, images (B, 3, H, W). What transfers from rendered
people to real ones depends on these more than on anything else (configs/train/demo.yaml).
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

GREY = (0.299, 0.587, 0.114)
# JPEG qualities, from surveillance recordings to stills
QUALITY = (30, 86)


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random numbers low..high."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def background(images: Tensor, person: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """With `probability` what is not the person is another picture of the batch, mirrored and in other colours.

    person (B, 1, H, W) is the person's share 0..1. Half of the new backgrounds fade into blotches of colour. Without this
    a model of rendered people may tell them by the few places they were rendered in.
    """
    count, _, height, width = images.shape
    other = images[torch.randperm(count, generator=generator)].flip(3)
    blotches = torch.rand((count, 3, 4, 2), generator=generator)
    blotches = F.interpolate(blotches, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)
    share = torch.rand((count, 1, 1, 1), generator=generator)
    faded = torch.rand((count, 1, 1, 1), generator=generator) < 0.5
    behind = torch.where(faded, other * share + blotches * (1 - share), other)
    behind = colour(behind, 1, generator).clamp(0, 1)
    used = torch.rand((count, 1, 1, 1), generator=generator) < probability
    return torch.where(used, person * images + (1 - person) * behind, images)


def colour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Each image with its own gamma, exposure, white balance, contrast and saturation; not clipped.

    At strength 1: gamma and exposure vary by a quarter (one standard deviation), a channel's gain by 8 %,
    contrast by 0.7 .. 1.3, saturation by 0.4 .. 1.5.
    """
    count = len(images)

    def spread(sigma: float, channels: int) -> Tensor:
        return torch.exp(torch.randn((count, channels, 1, 1), generator=generator) * sigma * strength)

    changed = images.clamp_min(1e-4) ** spread(0.25, 1) * spread(0.25, 1) * spread(0.08, 3)
    middle = changed.mean(dim=(1, 2, 3), keepdim=True)
    changed = middle + (changed - middle) * (1 + strength * uniform(-0.3, 0.3, (count, 1, 1, 1), generator))
    grey = (changed * torch.tensor(GREY)[:, None, None]).sum(dim=1, keepdim=True)
    return grey + (changed - grey) * (
        1 + strength * uniform(-0.6, 0.5, (count, 1, 1, 1), generator)
    ).clamp_min(0)


def tone(images: Tensor, cameras: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """A tone curve per camera of the batch, with `probability`: crushed or lifted and tinted blacks, clipped whites.

    cameras (B,) are any whole numbers; equal ones share a curve. Black goes to -0.16 .. 0.16, a channel's
    another 0.04 (one standard deviation) beside it; white to 0.85 .. 1.35. Clipped to 0..1.
    """
    names, place = cameras.unique(return_inverse=True)
    count = len(names)
    black = uniform(-0.16, 0.16, (count, 1, 1, 1), generator)
    black = black + 0.04 * torch.randn((count, 3, 1, 1), generator=generator)
    white = uniform(0.85, 1.35, (count, 1, 1, 1), generator)
    used = torch.rand((count, 1, 1, 1), generator=generator) < probability
    black, white = torch.where(used, black, 0.0), torch.where(used, white, 1.0)
    return (black[place] + (white - black)[place] * images).clamp(0, 1)


def blur_matrix(length: int, sigma: float) -> Tensor:
    """(length, length) whose product with a line of pixels is their Gaussian blur over 7, the edges repeated.

    On a CPU two small matrix products take a tenth of the time of two depthwise convolutions.
    """
    taps = torch.arange(-3, 4)
    weights = torch.exp(-taps.square() / (2 * sigma**2))
    place = torch.arange(length)
    matrix = torch.zeros(length, length)
    for tap, weight in zip(taps.tolist(), weights / weights.sum()):
        matrix[place, (place + tap).clamp(0, length - 1)] += weight
    return matrix


def sharpness(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Each image between blurred and sharpened with halos: x + a (x - blurred x), a in -1 .. 1 times strength.

    The blur is a Gaussian of 0.7 to 1.6 pixels, the same for a batch. Clipped to 0..1.
    """
    sigma = float(uniform(0.7, 1.6, (1,), generator))
    height, width = images.shape[2:]
    blurred = blur_matrix(height, sigma) @ images @ blur_matrix(width, sigma).T
    amount = strength * uniform(-1, 1, (len(images), 1, 1, 1), generator)
    return (images + amount.clamp_min(-1) * (images - blurred)).clamp(0, 1)


def jpeg(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """With `probability` an image is written as JPEG, at a quality of 30 to 85, and read again."""
    out = images.clone()
    chosen = torch.rand(len(images), generator=generator) < probability
    qualities = torch.randint(*QUALITY, (len(images),), generator=generator).tolist()
    for index in chosen.nonzero().flatten().tolist():
        pixels = (images[index].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=qualities[index])
        with Image.open(file) as read:
            out[index] = torch.from_numpy(np.array(read)).permute(2, 0, 1).float() / 255
    return out


def warp(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Each image stretched by exp(-strength .. strength) across and half of that along, moved by up to 5 %.

    Detectors frame people differently, and resizing a narrow crop widens the person. Edges are repeated.
    """
    count = len(images)
    across = torch.exp(uniform(-strength, strength, (count,), generator))
    along = torch.exp(uniform(-strength / 2, strength / 2, (count,), generator))
    moved = uniform(-0.1, 0.1, (count, 2), generator)
    zero = torch.zeros(count)
    rows = [torch.stack([across, zero, moved[:, 0]], 1), torch.stack([zero, along, moved[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
