"""Cut the boxes of people out of a frame. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.errors import DataError


def crop_views(
    frame: NDArray[np.uint8], boxes: ArrayLike, *, min_side: int = 1
) -> list[NDArray[np.uint8] | None]:
    """Return the part of `frame` (H, W, 3) uint8 inside each box, as a view without a copy; None for an empty box.

    `boxes` is (N, 4): x1, y1, x2, y2 in pixels, x2 and y2 exclusive. Fractions are rounded outwards, and then the box is clipped to
    the frame. A box is empty if a side of the clipped box is shorter than `min_side`, or a corner is not finite. Raises DataError
    for a frame or boxes of another type or shape.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        kind = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise DataError(f"frame: {kind}; give a (height, width, 3) uint8 array")
    try:
        corners = np.asarray(boxes, np.float64)
    except (TypeError, ValueError):
        raise DataError("boxes: not numbers; give (N, 4): x1, y1, x2, y2 in pixels") from None
    corners = corners.reshape(0, 4) if corners.size == 0 else corners
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise DataError(f"boxes: shape {corners.shape}; give (N, 4): x1, y1, x2, y2 in pixels")
    return [_view(frame, box, min_side) for box in corners]


def _view(frame: NDArray[np.uint8], box: NDArray[np.float64], min_side: int) -> NDArray[np.uint8] | None:
    """Return the part of the frame inside the box, or None for an empty box."""
    if not np.isfinite(box).all():
        return None
    height, width = frame.shape[:2]
    left, top = (int(max(edge, 0)) for edge in np.floor(box[:2]))
    right, bottom = (int(min(edge, limit)) for edge, limit in zip(np.ceil(box[2:]), (width, height)))
    if right - left < min_side or bottom - top < min_side:
        return None
    return frame[top:bottom, left:right]
