"""Get the images that models are timed on from a data set or from random pixels, and put them into a model's input format."""

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

# One batch: images in the model's input format (B, ...), and their camera ids (B,) or None.
Feed = tuple[NDArray[Any], "NDArray[np.int64] | None"]


@dataclass(frozen=True)
class Crops:
    """N crops of persons for a measurement.

    `pixels` has an array (H, W, 3) uint8 RGB for each crop, of any size. `camids` has the 0-based camera id of each crop, which is
    -1 if unknown. `source` says in words where the crops are from.
    """

    pixels: tuple[NDArray[np.uint8], ...]
    camids: tuple[int, ...]
    source: str


def random_crops(count: int, *, height: int = 256, width: int = 128) -> Crops:
    """Return `count` crops of random pixels, which are the same in every run. `height` and `width` are in pixels."""
    random = np.random.default_rng(0)
    pixels = tuple(random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count))
    return Crops(pixels, (-1,) * count, "images of random pixels (seed 0)")


def read_crops(items: Sequence[Item], count: int, source: str) -> Crops:
    """Read the images of up to `count` items, which are evenly spaced in `items`. Images that cannot be read are left out.

    `source` says in words where the items are from. Raises DataError if no image can be read.
    """
    positions = np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)
    pixels, camids, reason = [], [], "the data set has no images"
    for item in (items[position] for position in positions):
        try:
            pixels.append(load_image(item.path))
        except DataError as error:
            reason = str(error)
            continue
        camids.append(item.camid)
    if not pixels:
        raise DataError(
            f"{source}: there is no usable image for timing ({reason}); give another folder with --data"
        )
    return Crops(tuple(pixels), tuple(camids), source)


def feeds(crops: Crops, ids: NDArray[np.int64] | None, spec: InputSpec, batch: int) -> list[Feed]:
    """Return the N crops as batches of `batch` images in the input format of `spec`. No two batches share a crop.

    Each batch is (images, camera ids), which are the arguments of `Artifact.run`. `ids` (N,) are the camera ids of the crops, or None
    for a model that takes no camera ids. Crops that do not fill a last batch are left out. If N is less than `batch`, there is one
    batch, in which crops repeat.
    """
    pixels = np.stack([resize(crop, spec) for crop in crops.pixels])
    batches = np.arange(max(len(pixels) // batch, 1) * batch).reshape(-1, batch) % len(pixels)
    return [(to_input(pixels[indices], spec), None if ids is None else ids[indices]) for indices in batches]
