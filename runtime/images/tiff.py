"""What a TIFF file's header says that Pillow's pixels do not: how wide their values are, and how large its pieces. Knows no paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BITS, PHOTOMETRIC, TILE_WIDTH, TILE_LENGTH = 258, 262, 322, 323
WHITE_IS_ZERO = 0


@dataclass(frozen=True)
class Grey:
    """How grey values are stored: `bits` wide, and `inverted` where 0 is white."""

    bits: int = 16
    inverted: bool = False


def stored_grey(image: Any) -> Grey:
    """How the grey values of more than 8 bits in an opened TIFF file are stored; 16 bits, not inverted, for other kinds."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return Grey()
    bits = tags.get(BITS, (16,))
    return Grey(
        int(bits[0]) if isinstance(bits, tuple) else int(bits), tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    )


def largest_piece(image: Any) -> int:
    """Pixels of one tile, which is decoded whole however small the picture is; 0 for other kinds of files."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return 0
    width, length = (tags.get(tag, 0) for tag in (TILE_WIDTH, TILE_LENGTH))
    return width * length if isinstance(width, int) and isinstance(length, int) else 0
