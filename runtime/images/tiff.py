"""Read the bits per value and the tile size from the header of a TIFF file that Pillow has opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BITS, PHOTOMETRIC, TILE_WIDTH, TILE_LENGTH = 258, 262, 322, 323
WHITE_IS_ZERO = 0


@dataclass(frozen=True)
class Grey:
    """How grey values are stored: with `bits` bits each, and `inverted` if 0 is white."""

    bits: int = 16
    inverted: bool = False


def stored_grey(image: Any) -> Grey:
    """Return how an opened grey TIFF file stores its values, from its header; Grey(), 16 bits and not inverted, for other formats.

    The caller needs this only for values of more than 8 bits.
    """
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return Grey()
    bits = tags.get(BITS, (16,))
    return Grey(
        int(bits[0]) if isinstance(bits, tuple) else int(bits), tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    )


def largest_piece(image: Any) -> int:
    """Return the number of pixels in one tile of an opened TIFF file; 0 for other kinds of files and without tiles.

    A tile is decoded as a whole, even if it is larger than the image.
    """
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return 0
    width, length = (tags.get(tag, 0) for tag in (TILE_WIDTH, TILE_LENGTH))
    return width * length if isinstance(width, int) and isinstance(length, int) else 0
