"""Codes of features by faiss: one bit for each number of a feature, for a fast approximate search.

A device may do without faiss, so it is imported when it is first used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.library import Library, importing

LIBRARY = Library("faiss", "pip install '.[index]'", "pip install --force-reinstall --no-deps faiss-cpu")
# RaBitQ with a fast scan: one bit a number, scored 32 rows at a time.
KIND = "RaBitQfs"


def version() -> str:
    """Return the version of faiss. Raises DeviceError if it is not installed."""
    return str(_faiss().__version__)


def encode(features: NDArray[np.float32]) -> bytes:
    """Return the codes of features (n, D), as faiss writes an index."""
    faiss = _faiss()
    index = faiss.index_factory(features.shape[1], KIND, faiss.METRIC_INNER_PRODUCT)
    plain = np.ascontiguousarray(features)
    index.train(plain)
    index.add(plain)
    return bytes(faiss.serialize_index(index).tobytes())


def load(data: bytes) -> Any:
    """Return the index in `data`. Never call it with bytes whose hash was not checked: faiss does not survive damaged ones."""
    return _faiss().deserialize_index(np.frombuffer(data, np.uint8))


def nearest(index: Any, query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the rows (Q, count) that are nearest to each query by their codes; -1 where there are fewer."""
    _, rows = index.search(np.ascontiguousarray(query), count)
    return np.asarray(rows, np.int64)


def _faiss() -> Any:
    with importing(LIBRARY, needs=("index_factory", "serialize_index")):
        import faiss
    return faiss
