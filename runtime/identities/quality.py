"""How well a box shows its person: small, clipped and hidden boxes show less. Works on arrays of boxes.

The quality decides which crops a long track keeps, and which crops an event names. It is no weight in the feature of a track.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Boxes of this height in pixels or more are as good as any: the models of this project see 256 rows.
FULL_HEIGHT = 128.0
# A box that ends this near to the edge of the frame, in pixels, is probably clipped by it.
EDGE = 2.0
# What is left of the quality of a clipped box.
CLIPPED = 0.5


def box_quality(
    corners: NDArray[np.float64], frames: NDArray[np.int64], size: tuple[int, int] | None
) -> NDArray[np.float32]:
    """Return the quality (N,) of boxes, 0..1.

    `corners` (N, 4) are x1, y1, x2, y2 in pixels, `frames` (N,) the numbers of their frames, in ascending order, and `size` the width
    and height of the frames (None: unknown, then no box counts as clipped). All boxes of the frames must be given, because a box is
    hidden by those that end lower in the same frame: a person who stands nearer to the camera.
    """
    heights = corners[:, 3] - corners[:, 1]
    quality = np.clip(heights / FULL_HEIGHT, 0, 1)
    if size is not None:
        edges = np.array([-np.inf, -np.inf, *size]) - EDGE
        clipped = (corners[:, :2] <= EDGE).any(axis=1) | (corners[:, 2:] >= edges[2:]).any(axis=1)
        quality = np.where(clipped, quality * CLIPPED, quality)
    edges_of_frames = np.flatnonzero(np.diff(frames, prepend=-1, append=-1))
    for start, stop in zip(edges_of_frames, edges_of_frames[1:]):
        quality[start:stop] *= (1 - _hidden(corners[start:stop])) ** 2
    return quality.astype(np.float32)


def _hidden(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest part (n,) of each box that one box in front of it covers."""
    left_top = np.maximum(corners[:, None, :2], corners[None, :, :2])
    right_bottom = np.minimum(corners[:, None, 2:], corners[None, :, 2:])
    common = np.prod(np.maximum(right_bottom - left_top, 0), axis=2)
    area = np.prod(np.maximum(corners[:, 2:] - corners[:, :2], 1e-9), axis=1)
    in_front = corners[None, :, 3] > corners[:, None, 3]
    return np.asarray(np.where(in_front, common / area[:, None], 0).max(axis=1, initial=0))
