"""Read person crops from untrusted files. Knows nothing of models or data sets."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, features

from runtime.errors import DataError
from runtime.images import tiff
from runtime.images.jpeg import decode_plain, plain_frame
from runtime.wording import reason_of

# The decoders that re-ID data needs; everything else (EPS starts Ghostscript) stays out of reach. A JPEG of
# several pictures (MPO) comes in as JPEG. GIF is refused: no re-ID data set uses it.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF")
# The brands of a still picture and of a sequence.
AVIF_STARTS = (b"ftypavif", b"ftypavis")
MAX_PIXELS = 20_000_000
MAX_BYTES = 128 << 20
MIN_SIDE = 8
# Transparent pixels become the middle of the value range, so that they pull a normalised input towards 0.
GREY = 128


@dataclass(frozen=True)
class Decoded:
    """`pixels` (H, W, 3) uint8 RGB; `notes` says in words what was done to get there."""

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def load_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The image file at `path` as (H, W, 3) uint8 RGB, upright; DataError says why it cannot be used."""
    try:
        return decode(read_bytes(path)).pixels
    except DataError as error:
        raise DataError(f"{os.fspath(path)}: {error}; replace or remove the file") from None


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file of at most `MAX_BYTES`; never waits on a pipe or reads a device.

    DataError holds the reason only, without the path.
    """
    try:
        # O_NONBLOCK: opening a pipe without a writer would hang for ever; regular files do not notice.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be opened ({_reason(error)})") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise DataError("not a regular file")
        if status.st_size > MAX_BYTES:
            raise DataError(f"{status.st_size >> 20} MiB; an image file may have {MAX_BYTES >> 20}")
        with open(handle, "rb", closefd=False) as file:
            return file.read(status.st_size)
    except OSError as error:
        raise DataError(f"cannot be read ({_reason(error)})") from None
    finally:
        os.close(handle)


def decode(data: bytes) -> Decoded:
    """Decode one image completely: first frame, EXIF orientation applied, alpha laid over mean grey.

    JPEG, PNG, WebP, BMP, TIFF, and AVIF where Pillow reads it; 16-bit grey is scaled to 8 bits. DataError (the reason only)
    for anything damaged, of another format, over `MAX_PIXELS` or with a side under `MIN_SIDE`.
    """
    if not data:
        raise DataError("empty file")
    if (pixels := _plain(data)) is not None:
        return Decoded(pixels)
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            _check_size(*image.size)
            if tiff.largest_piece(image) > MAX_PIXELS:
                raise DataError(f"has tiles larger than {MAX_PIXELS // 10**6} megapixels")
            notes = _frames(image)
            grey = tiff.stored_grey(image)
            # Pillow turns a TIFF itself when it loads it, and finds the orientation of some PNGs only then.
            turned = _is_turned(image)
            image.load()
            if turned or _is_turned(image):
                notes += ("turned upright as its EXIF orientation says",)
            return Decoded(_rgb(ImageOps.exif_transpose(image), image.format, grey), notes)
    except DataError:
        raise
    except UnidentifiedImageError:
        if data[4:12] in AVIF_STARTS and "AVIF" not in _formats():
            raise DataError(
                "AVIF, which the installed Pillow does not read: pip install --upgrade pillow"
            ) from None
        raise DataError(f"not an image of a known kind ({', '.join(_formats())})") from None
    except Image.DecompressionBombError:
        raise DataError(f"larger than {MAX_PIXELS // 10**6} megapixels") from None
    # The bytes are untrusted and Pillow's parsers raise whatever a malformed field provokes (struct.error,
    # SyntaxError, KeyError, ...): any of them means that this one image is unusable.
    except Exception as error:
        raise DataError(f"damaged image ({_reason(error)})") from None


def _plain(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of a plain JPEG file of an allowed size, where they can be had sooner than from Pillow."""
    frame = plain_frame(data)
    if frame is None or frame.width * frame.height > MAX_PIXELS or min(frame.width, frame.height) < MIN_SIDE:
        return None
    return decode_plain(data, frame)


def _check_size(width: int, height: int) -> None:
    """Runs on the header alone, before any pixel is decoded."""
    if width * height > MAX_PIXELS:
        raise DataError(f"{width}x{height} is larger than {MAX_PIXELS // 10**6} megapixels")
    if min(width, height) < MIN_SIDE:
        raise DataError(f"{width}x{height} is smaller than {MIN_SIDE} pixels")


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that the installed Pillow reads: it had no AVIF before 11.3, and may be built without."""
    Image.init()
    return tuple(
        name for name in FORMATS if name in Image.OPEN and (name != "AVIF" or features.check("avif"))
    )


def _is_turned(image: Image.Image) -> bool:
    return image.getexif().get(0x0112, 1) in range(2, 9)


def _frames(image: Image.Image) -> tuple[str, ...]:
    # Counting the pages of a TIFF would read all of them.
    return ("several frames, the first is used",) if getattr(image, "is_animated", False) else ()


def _rgb(image: Image.Image, kind: str | None, stored: tiff.Grey) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 from any mode the allowed formats produce; DataError for 32-bit and float pixels."""
    # Older Pillow opens a 16-bit grey PNG as mode I; only PNG does, so its range is known there.
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG"):
        # convert("RGB") would clip at 255 instead of scaling: an all-white person, silently.
        wide = np.asarray(image).astype(np.uint32)
        most = (1 << stored.bits) - 1
        wide = (most - wide if stored.inverted else wide) * 255 + most // 2
        grey = (wide // most).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise DataError(f"pixel mode {image.mode} has no known range")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (GREY, GREY, GREY, 255))
        image = Image.alpha_composite(ground, rgba)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return reason_of(error)
