"""Decode plain JPEG files with simplejpeg, faster than Pillow, wherever both give the same pixels.

A plain file contains one 8-bit image in YCbCr or grey and no Exif data, as most crops of data sets do. The caller decodes all other
files with Pillow, and all files if simplejpeg is not installed. Simplejpeg and Pillow each contain a copy of libjpeg, and these copies
may decode a file to different pixels. So each process compares them on test images, once for each kind of file (chroma subsampling,
progressive or not). A kind with different pixels is left to Pillow, too.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.backends.library import Library, importing
from runtime.errors import DeviceError

LIBRARY = Library(
    "simplejpeg", "pip install '.[jpeg]'", "pip install --force-reinstall --no-deps -U simplejpeg"
)
START, END = b"\xff\xd8", b"\xff\xd9"
# Markers that may stand before the pixels of a plain file, besides the frame header: tables, restart interval, comment.
HARMLESS = (0xDB, 0xC4, 0xDD, 0xFE)
BASELINE, PROGRESSIVE, SCAN, JFIF = 0xC0, 0xC2, 0xDA, 0xE0
# {sampling factors of the first component: Pillow's name of the sampling}. The other components have 1 x 1. None is for grey.
SAMPLINGS = {0x11: "4:4:4", 0x21: "4:2:2", 0x22: "4:2:0", None: "grey"}


@dataclass(frozen=True)
class Frame:
    """The header of a plain JPEG file; `sampling` is its chroma subsampling, one of the values of SAMPLINGS."""

    width: int
    height: int
    sampling: str
    progressive: bool


def plain_frame(data: bytes) -> Frame | None:
    """Return the header of the plain JPEG file with the bytes `data`; None for any other file.

    A file that is cut off or has extra bytes at its end is not plain.
    """
    if not data.startswith(START) or not data.endswith(END):
        return None
    at, frame = len(START), None
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker == SCAN:
            return frame
        if marker in (BASELINE, PROGRESSIVE):
            if frame is not None or (frame := _frame(body, marker == PROGRESSIVE)) is None:
                return None
        elif marker == JFIF:
            if not body.startswith(b"JFIF\0") or len(body) < 14:
                return None
        elif marker not in HARMLESS or length < 2:
            return None
        at += 2 + length
    return None


def decode_plain(data: bytes, frame: Frame) -> NDArray[np.uint8] | None:
    """Return the pixels of a plain JPEG file, (H, W, 3) uint8 RGB, equal to Pillow's; None if Pillow must decode the file.

    `data` is the file's bytes, and `frame` its header from `plain_frame`. The result is None if simplejpeg is not installed, if it
    decodes this kind of file differently from Pillow, or if it reports an error or a warning for the file.
    """
    library = _simplejpeg()
    if library is None or not _agrees(frame.sampling, frame.progressive):
        return None
    pixels = _decoded(library, data)
    return pixels if pixels is not None and pixels.shape == (frame.height, frame.width, 3) else None


def _frame(body: bytes, progressive: bool) -> Frame | None:
    """Return the header in the body of a frame marker, or None if the file is not plain."""
    if len(body) < 6 or body[0] != 8 or len(body) != 6 + 3 * body[5]:
        return None
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    ids, factors = body[6::3], body[7::3]
    if len(ids) == 1 and factors == b"\x11":
        return Frame(width, height, SAMPLINGS[None], progressive)
    if ids != b"\1\2\3" or factors[1:] != b"\x11\x11" or factors[0] not in SAMPLINGS:
        return None
    return Frame(width, height, SAMPLINGS[factors[0]], progressive)


@lru_cache(maxsize=1)
def _simplejpeg() -> Any:
    """Return the library, or None if it is missing or broken. The pixels are the same without it; `engines doctor` reports why."""
    try:
        with importing(LIBRARY, needs=("decode_jpeg",)):
            import simplejpeg
    except DeviceError:
        return None
    return simplejpeg


@lru_cache(maxsize=len(SAMPLINGS) * 2)
def _agrees(sampling: str, progressive: bool) -> bool:
    """Return whether both libraries decode test images of this kind to the same pixels: gradients and noise, with odd sides."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 67 * 45 * 3).reshape(67, 45, 3)
    pixels = np.concatenate([ramp, ramp[:, ::-1], random.integers(0, 256, (68, 45, 3))]).astype(np.uint8)
    grey = sampling == SAMPLINGS[None]
    image = Image.fromarray(pixels).convert("L" if grey else "RGB")
    for quality in (30, 75, 95):
        file = io.BytesIO()
        options = {} if grey else {"subsampling": sampling}
        image.save(file, "JPEG", quality=quality, progressive=progressive, **options)
        with Image.open(io.BytesIO(file.getvalue())) as opened:
            expected = np.asarray(opened.convert("RGB"))
        decoded = _decoded(_simplejpeg(), file.getvalue())
        if decoded is None or not np.array_equal(decoded, expected):
            return False
    return True


def _decoded(library: Any, data: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels of the file as simplejpeg decodes it, or None if it refuses."""
    try:
        pixels: NDArray[np.uint8] = library.decode_jpeg(
            data, "RGB", fastdct=False, fastupsample=False, strict=True
        )
    # The bytes are not trusted. Pillow decodes the file again and reports what is wrong.
    except Exception:
        return None
    return pixels
