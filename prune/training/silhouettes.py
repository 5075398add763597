"""Person masks of rendered training images, read from two files of the data set. Imports no model.

anny.json lists the images of the data set, and masks.npz has a mask for each of them. data/anny_reid/README.md describes both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from runtime.datasets import Item
from runtime.errors import DataError
from runtime.files.json_text import parse_json
from runtime.files.npz import read_npz

# One bit per pixel: this is enough for half a million images of 256 x 128.
MAX_BYTES = 2 << 30


@dataclass(frozen=True)
class Silhouettes:
    """The masks of N images of `size` (height, width), packed into (N, height * width / 8) uint8 with one bit per pixel.

    `rows` maps an image's folder/file name to its row of `packed`.
    """

    packed: NDArray[np.uint8]
    size: tuple[int, int]
    rows: Mapping[str, int]

    def __call__(self, items: Sequence[Item], height: int, width: int) -> Tensor:
        """Return the person's share (0..1) of each pixel of the resized images of `items`, (B, 1, height, width) float32.

        Before resizing, the share is 1 inside the mask, 0.5 in a border of one pixel around it, and 0 elsewhere.
        """
        bits = np.unpackbits(self.packed[[self.rows[picture_name(item)] for item in items]], axis=1)
        inside = torch.from_numpy(bits.reshape(-1, 1, *self.size)).float()
        soft = (inside + F.max_pool2d(inside, 3, 1, 1)) / 2
        return F.interpolate(soft, (height, width), mode="bilinear", align_corners=False)


def picture_name(item: Item) -> str:
    """Return the name that the image has in anny.json: its folder and its file name, such as `query/7001_c2s1_001000_00.jpg`."""
    path = Path(item.path)
    return f"{path.parent.name}/{path.name}"


def read_silhouettes(items: Sequence[Item]) -> Silhouettes:
    """Return the masks of a data set's images, read from anny.json and masks.npz in the parent of the folder of the images.

    Raises DataError when these files are missing, cannot be read or belong to other images.
    """
    root = Path(items[0].path).parent.parent
    try:
        index = parse_json((root / "anny.json").read_text())
        packed = read_npz(root / "masks.npz", most_bytes=MAX_BYTES)["visible"]
        rows = {picture: row for row, picture in enumerate(index["images"])}
        size = int(index["size"][0]), int(index["size"][1])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{root}: anny.json and masks.npz cannot be read ({type(error).__name__}); only rendered data sets have these "
            "files: for other data sets set train.background=0"
        ) from None
    if packed.shape != (len(rows), size[0] * size[1] // 8) or any(
        picture_name(item) not in rows for item in items
    ):
        raise DataError(f"{root}: masks.npz does not belong to these images; render the data set again")
    return Silhouettes(packed, size, rows)
