"""Distinct images to time a model on: real crops or seeded noise. Knows no model, only what one takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.datasets import Item
from runtime.errors import DataError
from runtime.images.decode import load_image
from runtime.images.preprocess import resize, to_input
from runtime.spec import InputSpec

# One batch of images as the graph takes them, and their camera ids (B,) or None.
Feed = tuple[NDArray[Any], "NDArray[np.int64] | None"]


@dataclass(frozen=True)
class Crops:
    """N pictures (H, W, 3) uint8 RGB of any size, their 0-based cameras (-1 unknown), and where they are from."""

    pixels: tuple[NDArray[np.uint8], ...]
    camids: tuple[int, ...]
    source: str


def random_crops(count: int, *, height: int = 256, width: int = 128) -> Crops:
    """`count` pictures of noise, the same ones in every run."""
    random = np.random.default_rng(0)
    pixels = tuple(random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count))
    return Crops(pixels, (-1,) * count, "images of random pixels (seed 0)")


def read_crops(items: Sequence[Item], count: int, source: str) -> Crops:
    """Up to `count` of the items' images, evenly spaced; those that cannot be read are left out.

    DataError when none can.
    """
    places = np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)
    pixels, camids, reason = [], [], "there are none"
    for item in (items[place] for place in places):
        try:
            pixels.append(load_image(item.path))
        except DataError as error:
            reason = str(error)
            continue
        camids.append(item.camid)
    if not pixels:
        raise DataError(f"{source}: no image to time on ({reason}); check --data")
    return Crops(tuple(pixels), tuple(camids), source)


def feeds(crops: Crops, ids: NDArray[np.int64] | None, spec: InputSpec, batch: int) -> list[Feed]:
    """The crops as batches of a model's input, all of them different; `ids` (N,) are its camera ids or None.

    Only where there are fewer crops than `batch` does one stand in a batch twice.
    """
    pixels = np.stack([resize(picture, spec) for picture in crops.pixels])
    rows = np.arange(max(len(pixels) // batch, 1) * batch).reshape(-1, batch) % len(pixels)
    return [(to_input(pixels[row], spec), None if ids is None else ids[row]) for row in rows]
