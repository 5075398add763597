"""What the measurements send and search in: crops as requests, and galleries of synthetic features."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.service.client import post
from benchmarks.service.load import RequestOf
from runtime.errors import DataError
from runtime.gallery.api import open_gallery
from runtime.gallery.store.rows import Row
from runtime.model import Model

MOST_PICTURES = 64
BATCH = 5000
TOP = (("top", "10"),)


def read_pictures(folder: Path) -> list[bytes]:
    """Return the first JPEG files of a folder. Raises DataError if there are none."""
    pictures = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))[:MOST_PICTURES]]
    if not pictures:
        raise DataError(f"{folder}: no .jpg file here; name a folder of crops with --pictures DIR")
    return pictures


def searches(pictures: Sequence[bytes]) -> RequestOf:
    """Return the requests that search with one picture after the other, for the ten nearest rows."""
    requests = [post("/v1/search", picture, TOP) for picture in pictures]
    return lambda number: requests[number % len(requests)]


def marked(picture: bytes, text: str) -> bytes:
    """Return a JPEG file with a comment, so that it shows the same pixels and is another file."""
    comment = text.encode()
    return picture[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + picture[2:]


def make_gallery(folder: Path, model: Model, rows: int) -> Path:
    """Make a gallery with random unit features in `folder`, unless it is there, and return the folder."""
    random = np.random.default_rng(0)
    with open_gallery(folder, model=model) as gallery:
        for start in range(gallery.count(), rows, BATCH):
            numbers = range(start, min(start + BATCH, rows))
            features = random.normal(size=(len(numbers), model.dim)).astype(np.float32)
            features /= np.linalg.norm(features, axis=1, keepdims=True)
            gallery.add_rows([_row(number) for number in numbers], features)
    return folder


def _row(number: int) -> Row:
    name = hashlib.sha256(f"row {number}".encode()).hexdigest()
    return Row(name, camera=number % 6, time_us=1_000_000 * number, person=str(number // 8))
