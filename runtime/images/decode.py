"""Read and decode image files that are not trusted. Imports no model and no data set."""

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

# Only the decoders that re-identification data needs may run; others are a risk (EPS starts Ghostscript). A JPEG file of several
# images (MPO) opens as JPEG. GIF is refused, because no data set uses it.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF")
# The file types of an AVIF image and of an AVIF sequence.
AVIF_STARTS = (b"ftypavif", b"ftypavis")
MAX_PIXELS = 20_000_000
MAX_BYTES = 128 << 20
MIN_SIDE = 8
# The value behind transparent pixels: the middle of the range, which is near 0 in a normalised input.
GREY = 128


@dataclass(frozen=True)
class Decoded:
    """A decoded image: `pixels` (H, W, 3) uint8 RGB. `notes` has remarks such as "several frames, the first is used"."""

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def load_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return the image file at `path` as (H, W, 3) uint8 RGB, rotated upright. Raises DataError if it cannot be used."""
    try:
        return decode(read_bytes(path)).pixels
    except DataError as error:
        raise DataError(f"{os.fspath(path)}: {error}; replace or remove the file") from None


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of the file at `path`.

    Raises DataError if it cannot be read, is larger than `MAX_BYTES`, or is not a regular file; so this never waits for a pipe or
    reads a device. The message is the reason only, without the path.
    """
    try:
        # O_NONBLOCK: opening a pipe without a writer would block forever. It has no effect on regular files.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be opened ({_reason(error)})") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise DataError("not a regular file")
        if status.st_size > MAX_BYTES:
            raise DataError(
                f"{status.st_size >> 20} MiB; an image file may have at most {MAX_BYTES >> 20} MiB"
            )
        with open(handle, "rb", closefd=False) as file:
            return file.read(status.st_size)
    except OSError as error:
        raise DataError(f"cannot be read ({_reason(error)})") from None
    finally:
        os.close(handle)


def decode(data: bytes) -> Decoded:
    """Return the first frame of the image file with the bytes `data`, rotated upright by its EXIF orientation.

    The formats are JPEG, PNG, WebP, BMP, TIFF, and AVIF if the installed Pillow reads it. Transparent parts become mid grey, and
    16-bit grey is scaled to 8 bits. Raises DataError for an image that is damaged, of another format, larger than `MAX_PIXELS` or with
    a side below `MIN_SIDE`; the message is the reason only.
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
            # Check the orientation before and after loading: Pillow rotates a TIFF while it loads it, so the tag is gone afterwards,
            # and it finds the tag of some PNG files only then.
            rotated = _has_orientation(image)
            image.load()
            if rotated or _has_orientation(image):
                notes += ("rotated upright by its EXIF orientation",)
            return Decoded(_rgb(ImageOps.exif_transpose(image), image.format, grey), notes)
    except DataError:
        raise
    except UnidentifiedImageError:
        if data[4:12] in AVIF_STARTS and "AVIF" not in _formats():
            raise DataError(
                "AVIF, which the installed Pillow does not read; run: pip install --upgrade pillow"
            ) from None
        raise DataError(f"not an image of a known kind ({', '.join(_formats())})") from None
    except Image.DecompressionBombError:
        raise DataError(f"larger than {MAX_PIXELS // 10**6} megapixels") from None
    # The bytes are not trusted, and Pillow's parsers raise many kinds of exceptions for malformed fields (struct.error,
    # SyntaxError, KeyError, ...). Each of them means that this image cannot be used.
    except Exception as error:
        raise DataError(f"damaged image ({_reason(error)})") from None


def _plain(data: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels of a plain JPEG file of an allowed size if simplejpeg can decode it; else None."""
    frame = plain_frame(data)
    if frame is None or frame.width * frame.height > MAX_PIXELS or min(frame.width, frame.height) < MIN_SIDE:
        return None
    return decode_plain(data, frame)


def _check_size(width: int, height: int) -> None:
    """Refuse an image by its size. Needs only the header, so it runs before any pixel is decoded."""
    if width * height > MAX_PIXELS:
        raise DataError(f"{width}x{height} is larger than {MAX_PIXELS // 10**6} megapixels")
    if min(width, height) < MIN_SIDE:
        raise DataError(f"{width}x{height} is smaller than {MIN_SIDE} pixels")


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Return the FORMATS that the installed Pillow reads. It has AVIF from 11.3 on, unless it was built without."""
    Image.init()
    return tuple(
        name for name in FORMATS if name in Image.OPEN and (name != "AVIF" or features.check("avif"))
    )


def _has_orientation(image: Image.Image) -> bool:
    """Return whether the EXIF data state an orientation other than upright."""
    return image.getexif().get(0x0112, 1) in range(2, 9)


def _frames(image: Image.Image) -> tuple[str, ...]:
    """Return a note for an animated image. `n_frames` is not used, because counting the pages of a TIFF reads all of them."""
    return ("several frames, the first is used",) if getattr(image, "is_animated", False) else ()


def _rgb(image: Image.Image, kind: str | None, stored: tiff.Grey) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 from any mode of the allowed formats; DataError for 32-bit and float pixels."""
    # An older Pillow opens a 16-bit grey PNG as mode I. The range of mode I is known for PNG only.
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG"):
        # convert("RGB") would clip at 255 instead of scaling, which makes the whole image white.
        wide = np.asarray(image).astype(np.uint32)
        most = (1 << stored.bits) - 1
        wide = (most - wide if stored.inverted else wide) * 255 + most // 2
        grey = (wide // most).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise DataError(f"32-bit or float pixels (Pillow mode {image.mode}) have no known range")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (GREY, GREY, GREY, 255))
        image = Image.alpha_composite(ground, rgba)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _reason(error: Exception) -> str:
    """Return the reason of an error in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return reason_of(error)
