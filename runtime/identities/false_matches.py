"""How near tracks of different people come to each other, and the threshold for a rate of false matches. Works on arrays.

The distances need no labels: two tracks of one camera at the same time are two people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ConfigError, DataError
from runtime.identities.track import Track, track_feature
from runtime.ranking.site import SiteMeans

# The share of the distances that the tail is fitted to, and the fewest of them.
TAIL, FEWEST_IN_TAIL = 0.1, 20
FEWEST = round(FEWEST_IN_TAIL / TAIL)
# The shape of the tail is between these: 0 is an exponential tail, and a lower shape ends sooner. The bound keeps the rates on the
# safe side far out: without it, 20,000 normally distributed distances give a fifth of the true rate at 0.01 %.
SHAPES = (-0.1, -1e-3)


@dataclass(frozen=True)
class FalseMatches:
    """The distribution of the distances between tracks of different people.

    `pairs` is how many distances it comes from. Below the distance `edge`, where the share TAIL of them lies, it is a generalised
    Pareto distribution with `shape` and `scale` (peaks over threshold; Pickands 1975), fitted by its moments (Hosking and Wallis
    1987). Above, `steps` are the distances at equally spaced quantiles from TAIL to 1.
    """

    pairs: int
    edge: float
    scale: float
    shape: float
    steps: tuple[float, ...]

    @classmethod
    def fit(cls, distances: NDArray[np.floating[Any]]) -> FalseMatches:
        """Return the distribution of `distances` (n,), cosine distances 0..2. Raises DataError for fewer than 200."""
        if len(distances) < FEWEST:
            raise DataError(
                f"{len(distances)} pairs of tracks that are two people for certain, but a rate of false matches needs {FEWEST}: give "
                "longer videos, say that no two cameras see the same place if that is so (`separate_cameras`), or give "
                "the distance itself (`threshold`)"
            )
        edge = float(np.quantile(distances, TAIL))
        excess = np.maximum(edge - distances[distances <= edge].astype(np.float64), 0)
        mean, variance = float(excess.mean()), float(excess.var(ddof=1))
        ratio = mean**2 / max(variance, 1e-12)
        shape = float(np.clip((1 - ratio) / 2, *SHAPES))
        # with a bounded shape, the scale still gives the mean
        scale = max(mean * (1 - shape), 1e-6)
        steps = np.quantile(distances, np.linspace(TAIL, 1, 101))
        return cls(len(distances), edge, scale, shape, tuple(steps.tolist()))

    def pair_rate(self, distance: float) -> float:
        """Return the share of pairs of different people that are at most this far apart."""
        if distance <= self.edge:
            left = max(1 + self.shape * (self.edge - distance) / self.scale, 0.0)
            return float(TAIL * left ** (-1 / self.shape))
        return float(np.interp(distance, self.steps, np.linspace(TAIL, 1, len(self.steps))))

    def rate(self, distance: float, candidates: int) -> float:
        """Return the probability that a track of somebody else is this near to one of `candidates` identities."""
        return float(-np.expm1(max(candidates, 1) * np.log1p(-min(self.pair_rate(distance), 1 - 1e-12))))

    def distance(self, rate: float, candidates: int) -> float:
        """Return the largest distance with at most this `rate` of false matches among `candidates` identities; below 0 for none.

        Raises ConfigError for a rate that is not between 0 and 1.
        """
        if not 0 < rate < 1:
            raise ConfigError(f"a rate of false matches of {rate}: give one between 0 and 1, such as 0.05")
        pair = float(-np.expm1(np.log1p(-rate) / max(candidates, 1)))
        if pair <= TAIL:
            return self.edge - self.scale / self.shape * float((pair / TAIL) ** -self.shape - 1)
        return float(np.interp(pair, np.linspace(TAIL, 1, len(self.steps)), self.steps))

    def to_json(self) -> dict[str, Any]:
        """Return the record that a gallery stores."""
        return {
            "pairs": self.pairs,
            "edge": self.edge,
            "scale": self.scale,
            "shape": self.shape,
            "steps": list(self.steps),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> FalseMatches:
        """Return the distribution of a record. Raises KeyError, TypeError or ValueError for a damaged one."""
        steps = tuple(float(step) for step in record["steps"])
        edge, scale, shape = (float(record[name]) for name in ("edge", "scale", "shape"))
        if len(steps) < 2 or not np.isfinite([edge, scale, *steps]).all() or scale <= 0 or not shape < 0:
            raise ValueError("damaged distances")
        return cls(int(record["pairs"]), edge, scale, shape, steps)


def simultaneous(
    cameras: NDArray[np.int64],
    spans: NDArray[np.float64],
    *,
    separate_cameras: bool = False,
    overlap_s: float = 0.0,
) -> NDArray[np.bool_]:
    """Return which pairs of T tracks are two people for certain, as (T, T): those of one camera that are there at the same time.

    `cameras` (T,) are their cameras and `spans` (T, 2) their first and last times in seconds. `separate_cameras` says that no two
    cameras see the same place, so that tracks of two cameras at the same time are two people as well. Tracks that overlap by
    at most `overlap_s` seconds may be one person, whom the tracker lost and saw again.
    """
    common = np.minimum.outer(spans[:, 1], spans[:, 1]) - np.maximum.outer(spans[:, 0], spans[:, 0])
    apart = common > overlap_s if overlap_s else common >= 0
    if not separate_cameras:
        apart &= np.equal.outer(cameras, cameras)
    np.fill_diagonal(apart, False)
    return np.asarray(apart)


def distances_of(
    tracks: Sequence[Track],
    site: SiteMeans | None = None,
    *,
    separate_cameras: bool = False,
    overlap_s: float = 0.0,
) -> NDArray[np.float32]:
    """Return the cosine distances (n,) of those pairs of `tracks` that are two people for certain (see `simultaneous`)."""
    features = np.stack([track_feature(track.features) for track in tracks])
    cameras = np.array([track.camera for track in tracks], np.int64)
    if site is not None:
        features = site.apply(features, cameras)
    spans = np.array([(track.first_s, track.last_s) for track in tracks])
    apart = simultaneous(cameras, spans, separate_cameras=separate_cameras, overlap_s=overlap_s)
    distances: NDArray[np.float32] = (np.float32(1) - features @ features.T)[np.triu(apart)]
    return distances
