"""Rows and features of a gallery that a number determines, so that a test can tell what a store must hold."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.api import Gallery
from runtime.gallery.space import Space
from runtime.gallery.store.rows import Row
from runtime.gallery.store.store import open_store

DIM = 24
SPACE = Space("a" * 64, DIM, "none")


def row(number: int) -> Row:
    """Return row `number`: its person, camera, time and track follow from the number."""
    return Row(
        hashlib.sha256(f"image {number}".encode()).hexdigest(),
        camera=number % 3,
        time_us=1_000_000 * number,
        track=f"track-{number % 11}",
        person=f"person-{number % 7}",
        path=f"/crops/{number:06d}_of_a_person.jpg",
    )


def feature(number: int) -> NDArray[np.float32]:
    """Return the feature of row `number`, (DIM,), of length 1."""
    values = np.random.default_rng(number).normal(size=DIM).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values), np.float32)


def features(numbers: Any) -> NDArray[np.float32]:
    """Return the features of rows, (N, DIM)."""
    return (
        np.stack([feature(number) for number in numbers]) if len(numbers) else np.empty((0, DIM), np.float32)
    )


def gallery(folder: Path, *, segment_rows: int = 16) -> Gallery:
    """Open or create a gallery with small segments."""
    return Gallery(open_store(folder, SPACE, segment_rows=segment_rows))


def put(store: Gallery, numbers: Any) -> None:
    """Add rows by their numbers."""
    numbers = list(numbers)
    store.add_rows([row(number) for number in numbers], features(numbers))


def contents(folder: Path) -> bytes:
    """Return the bytes of all files of a gallery, one after the other."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
