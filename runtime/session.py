"""`Session`, the interface of a loaded model on any backend, and `check_features`, which every session calls on its result."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, NonFiniteFeatures


class Session(Protocol):
    """A loaded model. Call it with images (B, ...) and camera ids (B,) or None; it returns their features (B, D) float32.

    `InputSpec.layout` says the shape and type of the images, and `InputSpec.camera` whether the model takes camera ids.
    """

    def __call__(
        self, images: NDArray[Any], camera_ids: NDArray[Any] | None = None, /
    ) -> NDArray[np.float32]:
        """Return the features of one batch. Raises NonFiniteFeatures, OutOfMemory or DeviceError when the model cannot run."""
        ...


def check_features(features: NDArray[Any], batch: int, dim: int) -> NDArray[np.float32]:
    """Return `features` unchanged if they are (batch, dim) float32 and finite.

    Raises ArtifactError for another shape or type, and NonFiniteFeatures for NaN or infinity.
    """
    if features.shape != (batch, dim) or features.dtype != np.float32:
        raise ArtifactError(
            f"the model gave {features.dtype} {features.shape}, not float32 ({batch}, {dim}); export the model again"
        )
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        rows = tuple(int(row) for row in np.flatnonzero(~finite))
        raise NonFiniteFeatures(
            f"the model gave NaN or infinite features in rows {list(rows[:8])} of a batch", rows
        )
    return features
