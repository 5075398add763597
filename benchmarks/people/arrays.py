"""The numpy array types of this package: float32, int32 and bool arrays of any shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


def floats(values: npt.ArrayLike) -> Floats:
    """Return `values` as a float32 array."""
    return np.asarray(values, np.float32)


def bools(values: npt.ArrayLike) -> Bools:
    """Return `values` as a bool array."""
    return np.asarray(values, np.bool_)
