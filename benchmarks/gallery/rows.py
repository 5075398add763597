"""Rows and features of a gallery that a number determines, so that a check can tell what a store must hold. Synthetic."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.api import Gallery
from runtime.gallery.places import open_storage
from runtime.gallery.space import Space
from runtime.gallery.store.rows import Row
from runtime.options.store_place import ServerAddress, StorePlace

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


@lru_cache(maxsize=20_000)
def feature(number: int) -> NDArray[np.float32]:
    """Return the feature of row `number`, (DIM,), of length 1."""
    values = np.random.default_rng(number).normal(size=DIM).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values), np.float32)


def features(numbers: Iterable[int]) -> NDArray[np.float32]:
    """Return the features of rows, (N, DIM)."""
    return np.array([feature(number) for number in numbers], np.float32).reshape(-1, DIM)


def gallery(place: StorePlace, *, segment_rows: int = 16) -> Gallery:
    """Open or create a gallery with small segments, if it is a folder."""
    return Gallery(open_storage(place, SPACE, segment_rows=segment_rows))


def put(store: Gallery, numbers: Iterable[int]) -> None:
    """Add rows by their numbers."""
    numbers = list(numbers)
    store.add_rows([row(number) for number in numbers], features(numbers))


def contents(place: StorePlace) -> bytes:
    """Return the bytes of all files of a gallery, one after the other; of a server on this machine, those of its tables and log."""
    if isinstance(place, ServerAddress):
        from benchmarks.gallery.postgres.files import server_bytes

        parts = server_bytes(place)
        return parts["tables"] + parts["log"]
    return b"".join(path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file())


def marks(number: int) -> tuple[bytes, ...]:
    """Return the byte strings of row `number` that must be in no file after its deletion: feature, path and hash."""
    one = row(number)
    return feature(number).tobytes(), one.path.encode(), bytes.fromhex(one.sha256)
