"""How the rate of false positives grows with the distance up to which a match is accepted."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.ranking.proportions import upper_bound

# The most points of a curve: this many false positives one by one, and as many steps for the rest.
POINTS = 50


@dataclass(frozen=True)
class RateCurve:
    """The FPIR at several distances.

    Up to the cosine distance `distances`[i], ascending, the share `rates`[i] of the non-mated searches accepts somebody, and
    `bounds`[i] is the 95 % upper bound (Clopper and Pearson) of the rate that this share estimates.
    """

    distances: tuple[float, ...] | list[float]
    rates: tuple[float, ...] | list[float]
    bounds: tuple[float, ...] | list[float]

    def at(self, distance: float) -> tuple[float, float]:
        """Return (rate, bound) for a distance: those of the next point, so that neither is too low. (1, 1) after the last."""
        point = bisect_left(self.distances, distance)
        return (self.rates[point], self.bounds[point]) if point < len(self.distances) else (1.0, 1.0)


def rate_curve(nearest: NDArray[np.float32]) -> RateCurve:
    """Return the curve of the non-mated searches with these distances of their nearest candidates, (M,), M at least 1."""
    ordered = np.sort(nearest)
    searches = len(ordered)
    counts = np.unique([*range(min(POINTS, searches) + 1), *np.linspace(0, searches, POINTS).astype(int)])
    # the largest distance at which no more than so many searches accept somebody
    far = [
        float(np.nextafter(ordered[c], np.float32(-1))) if c < searches else float(ordered[-1])
        for c in counts
    ]
    points = {distance: int(np.searchsorted(ordered, np.float32(distance), "right")) for distance in far}
    return RateCurve(
        tuple(points),
        tuple(count / searches for count in points.values()),
        tuple(upper_bound(count, searches) for count in points.values()),
    )
