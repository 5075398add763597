"""How much boxes overlap, and which box shows which exact box. Works on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
# A box shows a person whose exact box it overlaps at least so much (intersection over union), as in MOTChallenge.
LEAST_OVERLAP = 0.5


def overlap(first: Boxes, other: Boxes) -> NDArray[np.float64]:
    """Return the intersection over union (N, M), 0..1, of boxes (N, 4) and (M, 4), each x1, y1, x2, y2 in pixels."""
    left_top = np.maximum(first[:, None, :2], other[None, :, :2])
    right_bottom = np.minimum(first[:, None, 2:], other[None, :, 2:])
    common = np.prod(np.maximum(right_bottom - left_top, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, other)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.asarray(common / np.maximum(union, 1e-9))


def matched(similarity: NDArray[np.float64]) -> dict[int, int]:
    """Return {row: column} of the pairs of a similarity matrix (N, M) with the largest sum, all of at least LEAST_OVERLAP.

    Nothing is matched twice.
    """
    from scipy.optimize import linear_sum_assignment

    allowed = np.where(similarity >= LEAST_OVERLAP, similarity, 0)
    rows, columns = linear_sum_assignment(-allowed)
    return {int(row): int(column) for row, column in zip(rows, columns) if allowed[row, column] > 0}
