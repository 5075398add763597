"""Fit a projection of features to fewer numbers. Works on arrays; runs no model.

The projection is a principal component analysis without labels, whitening or centring: the features are multiplied by the first right
singular vectors of the features of the fitting crops. Of all matrices of this size, it keeps the inner products of these features
best (Eckart and Young 1936), and with all numbers it changes no cosine. No mean is subtracted: the mean of a site belongs to the
calibration of a gallery, which can be undone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The fewest crops for each number of the projected features. N crops span at most N directions, and the last ones are noise of these
# crops, so more are needed than numbers.
CROPS_PER_NUMBER = 2
# A direction whose singular value is below this share of the largest one holds only rounding errors.
RANK = 1e-5


@dataclass(frozen=True, eq=False)
class Projection:
    """A projection of features with D numbers to `dim` numbers: `matrix` (D, dim) float32 with orthonormal columns.

    It was fitted on `images` crops, the content of whose files has the hash `images_sha256`.
    """

    matrix: NDArray[np.float32]
    images: int
    images_sha256: str

    @property
    def dim(self) -> int:
        """The number of values in a projected feature."""
        return int(self.matrix.shape[1])

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features (N, dim) of the features (N, D), L2-normalised."""
        wide = features.astype(np.float64) @ self.matrix.astype(np.float64)
        return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of a manifest; `sha256` is the hash of the matrix, row by row in little-endian float32."""
        return {
            "from": int(self.matrix.shape[0]),
            "dim": self.dim,
            "sha256": hashlib.sha256(self.matrix.astype("<f4").tobytes()).hexdigest(),
            "images": self.images,
            "images_sha256": self.images_sha256,
        }


def directions(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the matrix (D, R) of the directions that the L2-normalised `features` (N, D) span, the most important first.

    Its columns are orthonormal, and the largest entry of each is positive. The first columns project features to as many numbers. R is
    at most the smaller of N and D, and less if features are equal.
    """
    _, sizes, rows = np.linalg.svd(features.astype(np.float64), full_matrices=False)
    columns = rows[sizes > RANK * sizes[0]].T
    signs = np.sign(columns[np.abs(columns).argmax(axis=0), np.arange(columns.shape[1])])
    return np.ascontiguousarray(columns * signs, np.float32)
