"""`Track`, the crops of one person in one camera, and the feature that stands for it. Works on arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError


@dataclass(frozen=True, eq=False)
class Track:
    """A run of n crops of one person in one camera.

    `camera` is a 0-based number, and `name` is what the tracker calls the track: its number, for example. `times` (n,) float64 are
    in seconds, in ascending order, on one clock for all cameras. `features` (n, D) float32 are L2-normalised. `quality` (n,)
    float32 in 0..1 says how well each crop shows the person, so that an event can name the best. `evidence` names the crops: n
    paths, or nothing. `rows` are the numbers of the crops in the gallery that the track comes from, or nothing. `source` names the
    video, so that tracks of two videos are told apart. `span_s` are the first and the last time of the track where crops at its
    ends are not kept (None: those of the crops). Raises DataError for values of another shape or range.
    """

    camera: int
    name: str
    times: NDArray[np.float64]
    features: NDArray[np.float32]
    quality: NDArray[np.float32]
    evidence: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    source: str = ""
    span_s: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        # a tracker's numbers may be those of numpy, which JSON does not know
        object.__setattr__(self, "camera", int(self.camera))
        object.__setattr__(self, "name", str(self.name))
        if self.camera < 0:
            raise DataError(f"{self}: give the number of its camera, 0 or more")
        count = len(self.times)
        if not count or not np.isfinite(self.times).all() or (np.diff(self.times) < 0).any():
            raise DataError(
                f"{self}: its times are empty, not finite or not in order; give one time in seconds for each crop"
            )
        if self.features.ndim != 2 or len(self.features) != count or len(self.quality) != count:
            raise DataError(
                f"{self}: {count} times, features {self.features.shape}, {len(self.quality)} qualities; give one of each for each crop"
            )
        # not >=, which NaN would pass
        if not (
            self.first_s <= self.times[0]
            and self.last_s >= self.times[-1]
            and np.isfinite(self.last_s - self.first_s)
        ):
            raise DataError(
                f"{self}: its span {self.span_s} does not hold the times of its crops; give its first and last time"
            )
        if not np.isfinite(self.features).all():
            raise DataError(f"{self}: a feature is NaN or infinite; leave this crop out")

    def __str__(self) -> str:
        return f"track {self.name} of camera {self.camera}"

    @property
    def first_s(self) -> float:
        """The first time of the track in seconds."""
        return float(self.times[0]) if self.span_s is None else self.span_s[0]

    @property
    def last_s(self) -> float:
        """The last time of the track in seconds."""
        return float(self.times[-1]) if self.span_s is None else self.span_s[1]


def track_feature(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the feature (D,) float32 of a track: the mean of its crops (n, D), L2-normalised.

    All crops count alike. Weights by size, clipping, hiding and by the likeness to the other crops gained nothing on rendered
    training sequences (docs/identities.md).
    """
    mean = features.mean(axis=0, dtype=np.float64)
    # crops that cancel out have no direction; any is as good
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)
