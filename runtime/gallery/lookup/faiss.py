"""Codes of features by faiss: one bit for each number of a feature, for a fast approximate search.

A device may do without faiss, so it is imported when it is first used.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.library import Library, importing

LIBRARY = Library("faiss", "pip install '.[index]'", "pip install --force-reinstall --no-deps faiss-cpu")
# RaBitQ with a fast scan: one bit a number, scored 32 rows at a time. Features are rotated at random first: the bits tell most if
# every number of a feature varies as much as the others.
KIND = "RaBitQfs"
# Each file of codes names its rotation: raise ROTATION when the rotation changes. At most WIDEST numbers are rotated together.
ROTATION, WIDEST = 2, 1024


def version() -> str:
    """Return the version of the codes: that of faiss and of the rotation. Raises DeviceError if faiss is not installed."""
    return f"{_faiss().__version__} rotation {ROTATION}"


def encode(features: NDArray[np.float32]) -> bytes:
    """Return the codes of features (n, D), as faiss writes an index."""
    faiss = _faiss()
    index = faiss.index_factory(features.shape[1], KIND, faiss.METRIC_INNER_PRODUCT)
    turned = rotated(features)
    index.train(turned)
    index.add(turned)
    return bytes(faiss.serialize_index(index).tobytes())


def load(data: bytes) -> Any:
    """Return the index in `data`. Never call it with bytes whose hash was not checked: faiss does not survive damaged ones."""
    return _faiss().deserialize_index(np.frombuffer(data, np.uint8))


def nearest(index: Any, query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the rows (Q, count) that are nearest to each query by their codes; -1 where there are fewer."""
    _, rows = index.search(rotated(query), count)
    return np.asarray(rows, np.int64)


def rotated(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features (n, D) after the rotation of this width, which leaves their inner products as they are."""
    order, turns = _rotation(features.shape[1])
    parts = np.split(features[:, order], np.cumsum([len(turn) for turn in turns])[:-1], axis=1)
    return np.concatenate([part @ turn for part, turn in zip(parts, turns)], axis=1, dtype=np.float32)


@lru_cache(maxsize=4)
def _rotation(dim: int) -> tuple[NDArray[np.int64], list[NDArray[np.float32]]]:
    """Return an order of the numbers, and for each block of them, at most WIDEST wide, an orthogonal matrix."""
    # a file of codes outlives a version of numpy, and only RandomState gives the same numbers in all of them
    random = np.random.RandomState(dim)
    order = random.permutation(dim)
    sizes = [len(part) for part in np.array_split(order, -(-dim // WIDEST))]
    return order, [np.linalg.qr(random.normal(size=(size, size)))[0].astype(np.float32) for size in sizes]


def _faiss() -> Any:
    with importing(LIBRARY, needs=("index_factory", "serialize_index")):
        import faiss
    return faiss
