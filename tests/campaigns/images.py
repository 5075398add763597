"""Damaged image files in each accepted format, which are read as all commands read images."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from runtime.images.decode import FORMATS, load_image
from tests.campaigns.mutate import EXTREMES, damaged

# The pixel modes and options with which the encoder of each format can write a file.
KINDS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "JPEG": [
        ("RGB", {}),
        ("RGB", {"progressive": True, "subsampling": "4:4:4"}),
        ("L", {}),
        ("CMYK", {}),
        ("RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}),
    ],
    "PNG": [
        ("RGB", {}),
        ("RGBA", {}),
        ("P", {"transparency": 0}),
        ("L", {}),
        ("LA", {}),
        ("1", {}),
        ("I;16", {}),
    ],
    "WEBP": [("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {}), ("RGB", {"save_all": True})],
    "BMP": [("RGB", {}), ("RGBA", {}), ("P", {}), ("L", {}), ("1", {})],
    "TIFF": [
        ("RGB", {}),
        *(("RGB", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        ("RGBA", {}),
        ("L", {}),
        ("I;16", {}),
        ("F", {}),
        ("CMYK", {}),
        ("P", {}),
        ("1", {"compression": "group4"}),
        ("RGB", {"save_all": True}),
    ],
    "AVIF": [("RGB", {}), ("RGBA", {}), ("RGB", {"save_all": True})],
}


def prepare(folder: Path) -> list[tuple[str, bytes]]:
    """Return (format, bytes) of undamaged files in the formats that the runtime accepts, except those Pillow cannot write."""
    random = np.random.default_rng(0)
    smooth = np.linspace(0, 255, 48 * 24 * 3).reshape(48, 24, 3)
    whole = Image.fromarray((smooth + random.integers(0, 40, smooth.shape)).clip(0, 255).astype(np.uint8))
    files = []
    for name in FORMATS:
        for mode, options in KINDS.get(name, [("RGB", {})]):
            image = (
                Image.fromarray(np.asarray(whole.convert("L")).astype(np.uint16) * 257)
                if mode == "I;16"
                else whole.convert(mode)
            )
            file = io.BytesIO()
            more = {"append_images": [image.rotate(180)]} if "save_all" in options else {}
            try:
                image.save(file, name, **options, **more)
            except (KeyError, OSError):
                continue
            files.append((name, file.getvalue()))
    return files


def make(files: list[tuple[str, bytes]], random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    """Write one damaged file. Return the call that reads it, and whether it must be refused.

    In every second file, the checksums or the directory of the format are corrected.
    """
    name, data = random.choice(files)
    whole = random.random() < 0.5 and name in STRUCTURED
    path = folder / "image.bin"
    path.write_bytes(STRUCTURED[name](data, random) if whole else damaged(data, random))

    def read() -> int:
        pixels = load_image(path)
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        return 0

    return read, False


def png(data: bytes, random: Random) -> bytes:
    """Return a PNG file with damaged or moved chunks whose checksums are correct."""
    chunks, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    place = random.randrange(len(chunks))
    kind, body = chunks[place]
    change = random.randrange(6)
    if change == 0:
        chunks[place] = (
            random.choice((b"acTL", b"fcTL", b"fdAT", b"tRNS", b"PLTE", b"iCCP", b"zTXt", b"eXIf", b"IHDR")),
            body,
        )
    elif change == 1:
        chunks.insert(random.randrange(len(chunks)), chunks[place])
    elif change == 2 and kind == b"IDAT":
        # Damage the pixels, and then compress them again.
        chunks[place] = (kind, zlib.compress(damaged(zlib.decompress(body), random)))
    elif change == 3:
        extra = random.choice(
            (b"acTL", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"gAMA", b"pHYs", b"cHRM", b"sRGB")
        )
        text = random.choice(
            (random.randbytes(20), b"a\0\0" + zlib.compress(bytes(random.choice((10, 9_000_000)))))
        )
        chunks.insert(random.randint(1, len(chunks)), (extra, text))
    else:
        chunks[place] = (kind, damaged(body, random))
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def tiff(data: bytes, random: Random) -> bytes:
    """Return a TIFF file in whose first directory one to three fields have another tag, type, count or value."""
    order = "little" if data[:2] == b"II" else "big"
    start = int.from_bytes(data[4:8], order)
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        entry = start + 2 + 12 * random.randrange(max(1, int.from_bytes(data[start : start + 2], order)))
        offset, size = random.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 2), (8, 4), (8, 2)))
        near = int.from_bytes(data[entry + offset : entry + offset + size], order) + random.choice(
            (-1, 1, 2, 8, 64)
        )
        number = (
            random.choice((*EXTREMES, *range(1, 20), near, near, random.randrange(256, 340), start))
            % 256**size
        )
        changed[entry + offset : entry + offset + size] = number.to_bytes(size, order)
    return bytes(changed)


def jpeg(data: bytes, random: Random) -> bytes:
    """Return a JPEG file in which one segment before the pixels is damaged and its length is corrected."""
    segments, at = [], 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((data[at + 1], data[at + 4 : end]))
        at = end
    place = random.randrange(len(segments))
    marker, body = segments[place]
    if random.random() < 0.3:
        marker = random.choice((0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xED, 0xFE))
    segments[place] = (marker, damaged(body, random)[:65_533])
    if random.random() < 0.2:
        random.shuffle(segments)
    return (
        data[:2]
        + b"".join(
            bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
        )
        + data[at:]
    )


STRUCTURED = {"PNG": png, "TIFF": tiff, "JPEG": jpeg}
