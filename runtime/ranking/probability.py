"""The probability that a candidate is the right person, from its distance.

Platt, "Probabilistic outputs for support vector machines", 1999, on the logit of the distance; isotonic regression where there are
enough searches. Works on arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Isotonic regression needs more mated searches than this; with fewer, Platt's two numbers are more reliable.
ISOTONIC = 1000
STEPS = 100


@dataclass(frozen=True)
class Probability:
    """A function from distance to probability.

    With `slope` and `offset`, it is 1 / (1 + exp(-(slope * logit + offset))), where the logit is that of the cosine, scaled to 0..1.
    If `distances` are given, it is the linear interpolation between `distances` (ascending) and `values`.
    """

    slope: float = 0.0
    offset: float = 0.0
    distances: tuple[float, ...] | list[float] = ()
    values: tuple[float, ...] | list[float] = ()

    def __call__(self, distance: float) -> float:
        """Return the probability (0..1) at a cosine distance (0..2)."""
        if len(self.distances):
            return float(np.interp(distance, self.distances, self.values))
        return float(_sigmoid(self.slope * _logit(np.array([distance])) + self.offset)[0])


def fit_probability(distances: NDArray[np.float32], right: NDArray[np.bool_], *, mated: int) -> Probability:
    """Return the function that fits the nearest candidates of searches: their `distances` (n,), and whether each is `right` (n,).

    Mated and non-mated searches have the same weight in total, so the probability holds where half of the searches are mated. `mated`
    is the number of mated searches, which come first.
    """
    count = len(distances)
    weights = np.full(count, 0.5 / max(1, count - mated))
    weights[:mated] = 0.5 / max(1, mated)
    if mated > ISOTONIC:
        return _isotonic(distances.astype(np.float64), right.astype(np.float64), weights)
    return _platt(_logit(distances), right, weights * count)


def _logit(distances: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    similar = np.clip(1 - distances.astype(np.float64) / 2, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(similar / (1 - similar)), np.float64)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))), np.float64)


def _platt(x: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]) -> Probability:
    """Fit slope and offset by Newton's method; Platt's targets keep the probabilities away from 0 and 1."""
    positive, negative = int(right.sum()), int((~right).sum())
    target = np.where(right, (positive + 1) / (positive + 2), 1 / (negative + 2))
    design = np.stack([x, np.ones_like(x)], axis=1)
    numbers = np.zeros(2)
    for _ in range(STEPS):
        p = _sigmoid(design @ numbers)
        gradient = design.T @ (weights * (p - target)) + 1e-9 * numbers
        curvature = (design * (weights * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        # a long step would leave the region where the curvature holds
        numbers -= step * min(1.0, 5 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-10:
            break
    return Probability(float(numbers[0]), float(numbers[1]))


def _isotonic(
    distances: NDArray[np.float64], right: NDArray[np.float64], weights: NDArray[np.float64]
) -> Probability:
    """Pool neighbours until the probability never rises with the distance."""
    order = np.argsort(distances, kind="stable")
    pools: list[list[float]] = []
    for at in order:
        pools.append([right[at] * weights[at], weights[at], distances[at], distances[at]])
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] < pools[-1][0] * pools[-2][1]:
            value, weight, _, last = pools.pop()
            pools[-1][0] += value
            pools[-1][1] += weight
            pools[-1][3] = last
    points = [(edge, pool[0] / pool[1]) for pool in pools for edge in dict.fromkeys(pool[2:])]
    return Probability(distances=[edge for edge, _ in points], values=[value for _, value in points])
