"""Make small copies of image files as data URIs, for an HTML page that contains its images."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import DataError
from runtime.images.decode import decode, read_bytes

# Person crops are rarely larger than a model's input of 128 x 256 pixels.
BOX = (128, 256)
QUALITY = 85


@dataclass(frozen=True)
class Thumbnail:
    """A small copy of an image: `uri` is a JPEG that fits into BOX, (width, height) in pixels, as a data URI.

    If the image cannot be shown, `uri` is None and `missing` is the reason.
    """

    uri: str | None
    missing: str | None = None


def thumbnail(path: str, sha256: str | None = None) -> Thumbnail:
    """Return a thumbnail of the image file at `path`; a small image is not enlarged.

    If `sha256` is given and the file has another hash, the thumbnail says that the file has changed.
    """
    try:
        jpeg = jpeg_of(path, sha256)
    except DataError as error:
        return Thumbnail(None, str(error))
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(jpeg).decode())


def jpeg_of(path: str, sha256: str | None = None) -> bytes:
    """Return a thumbnail of the image file at `path` as a JPEG file. Raises DataError where `thumbnail` gives a reason."""
    data = read_bytes(path)
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise DataError("the file has changed since its features were extracted")
    return small_jpeg(decode(data).pixels)


def small_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Return the pixels (H, W, 3) uint8 RGB as a JPEG file that fits into BOX; a small image is not enlarged."""
    image = Image.fromarray(pixels)
    image.thumbnail(BOX)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
