"""Which pixels of rendered training pictures show the person. Knows the files of Anny-ReID, no model."""

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

# a bit for each pixel: half a million pictures of 256 x 128
MOST_BYTES = 2 << 30


@dataclass(frozen=True)
class Silhouettes:
    """`packed` (N, height * width / 8) uint8, a bit a pixel, of pictures of `size`; `rows` finds a picture by folder/name."""

    packed: NDArray[np.uint8]
    size: tuple[int, int]
    rows: Mapping[str, int]

    def __call__(self, items: Sequence[Item], height: int, width: int) -> Tensor:
        """(B, 1, height, width) shares 0..1 of the person; the seam, one pixel outside, is half the person's."""
        bits = np.unpackbits(self.packed[[self.rows[name(item)] for item in items]], axis=1)
        inside = torch.from_numpy(bits.reshape(-1, 1, *self.size)).float()
        soft = (inside + F.max_pool2d(inside, 3, 1, 1)) / 2
        return F.interpolate(soft, (height, width), mode="bilinear", align_corners=False)


def name(item: Item) -> str:
    """The picture as anny.json names it: folder/file."""
    path = Path(item.path)
    return f"{path.parent.name}/{path.name}"


def read_silhouettes(items: Sequence[Item]) -> Silhouettes:
    """Those of a data set's pictures, from anny.json and masks.npz beside their folder; DataError where it has none."""
    root = Path(items[0].path).parent.parent
    try:
        index = parse_json((root / "anny.json").read_text())
        packed = read_npz(root / "masks.npz", most_bytes=MOST_BYTES)["visible"]
        rows = {picture: row for row, picture in enumerate(index["images"])}
        size = int(index["size"][0]), int(index["size"][1])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{root}: no readable anny.json and masks.npz ({type(error).__name__}); only rendered people have them: set "
            "train.background=0"
        ) from None
    if packed.shape != (len(rows), size[0] * size[1] // 8) or any(name(item) not in rows for item in items):
        raise DataError(f"{root}: masks.npz does not belong to these pictures; render the set again")
    return Silhouettes(packed, size, rows)
