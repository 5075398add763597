"""Pictures that a request brings: decode them, cut the person out, and make the crop that the model takes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError
from runtime.images.boxes import crop_views
from runtime.images.decode import MIN_SIDE, decode
from runtime.images.preprocess import resize
from runtime.images.thumbnails import small_jpeg
from runtime.service.problems import Refused
from runtime.spec import InputSpec
from runtime.wording import printable

Box = tuple[float, float, float, float]
# In place of a box: the whole picture.
WHOLE = None
# The most characters of a file name that are kept.
NAME = 200


@dataclass(frozen=True)
class Picture:
    """A picture of a request: the bytes of the file, its name, and the boxes of people in pixels of the upright picture.

    The box WHOLE (None) says that the whole picture shows one person.
    """

    data: bytes
    name: str
    boxes: tuple[Box | None, ...] = (WHOLE,)


@dataclass(frozen=True)
class Crop:
    """One person of a picture: `pixels` (height, width, 3) uint8 RGB as the model takes them, and a small JPEG file if asked for.

    `sha256` identifies the bytes of the picture together with the box.
    """

    pixels: NDArray[np.uint8]
    sha256: str
    name: str
    thumbnail: bytes = b""


def crops_of(picture: Picture, spec: InputSpec, *, thumbnails: bool = False) -> list[Crop]:
    """Return the crop of each box of a picture. Raises Refused for a picture or a box of no use."""
    try:
        pixels = decode(picture.data).pixels
    except DataError as error:
        raise Refused(422, f"image {picture.name!r:.80}: {error}") from None
    digest = hashlib.sha256(picture.data)
    crops = []
    for number, box in enumerate(picture.boxes):
        view = pixels if box is WHOLE else crop_views(pixels, [box], min_side=MIN_SIDE)[0]
        if view is None:
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise Refused(
                422,
                f"box {number} of image {picture.name!r:.80}: less than {MIN_SIDE} pixels wide or high inside the picture ({size})",
            )
        own = digest.copy()
        if box is not WHOLE:
            own.update(repr(box).encode())
        small = small_jpeg(view) if thumbnails else b""
        crops.append(Crop(resize(view, spec), own.hexdigest(), picture.name, small))
    return crops


def file_name(name: str | None) -> str:
    """Return the name of an uploaded file without folders, as printable text of at most `NAME` characters."""
    last = os.path.basename((name or "").replace("\\", "/"))
    return printable(last)[-NAME:] or "picture"
