"""Site calibration: the mean feature of each camera, which is subtracted so that cameras become comparable.

The means come from crops without labels. They are applied when a gallery is searched; the stored features stay as they are. Works on
arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError

# The fewest and the most crops of a camera: with 25 most of the gain is there, and 100 add little to 50
# (python -m benchmarks.gallery site).
FEWEST, MOST = 25, 100
# The fewest tracks that the crops of a camera must come from, where tracks are known.
FEWEST_TRACKS = 8
# The largest share of a camera's crops that may show one person.
LARGEST_SHARE = 0.4
# Two crops of a camera count as the same person, for that share, if they are nearer than this part of the distance between two people
# of one camera, which is taken from the farthest tenth of all pairs: few of these show one person, even if that person dominates.
NEAR, FARTHEST = 0.4, 0.9
# The means must differ more than in this share of random divisions of the same crops into cameras.
CHANCE, DIVISIONS = 0.01, 200


@dataclass(frozen=True, eq=False)
class SiteMeans:
    """The mean features of cameras: `cameras` (C,) are their numbers, and row i of `means` (C, D) the mean of camera i.

    `crops` (C,) says how many crops each mean comes from. A camera without a mean of its own gets the mean of all.
    """

    cameras: tuple[int, ...]
    means: NDArray[np.float32]
    crops: tuple[int, ...]

    def of(self, cameras: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return the mean to subtract for each camera number (N,), as (N, D)."""
        return self.table()[self.rows(cameras)]

    def table(self) -> NDArray[np.float32]:
        """Return the means (C + 1, D); the last is that of all cameras."""
        return np.concatenate([self.means, self.means.mean(axis=0, keepdims=True)])

    def rows(self, cameras: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return the row of `table` for each camera number (N,)."""
        rows = np.full(len(cameras), len(self.cameras), np.int64)
        for row, camera in enumerate(self.cameras):
            rows[cameras == camera] = row
        return rows

    def apply(self, features: NDArray[np.float32], cameras: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return features (N, D) with the mean of their cameras (N,) subtracted, L2-normalised."""
        moved = features - self.of(cameras)
        norms = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return the record that a gallery stores."""
        return {"cameras": list(self.cameras), "means": self.means.tolist(), "crops": list(self.crops)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> SiteMeans:
        """Return the means of a record. Raises KeyError, TypeError or ValueError for a damaged one."""
        means = np.array(record["means"], np.float32)
        cameras, crops = tuple(map(int, record["cameras"])), tuple(map(int, record["crops"]))
        if means.ndim != 2 or len(means) != len(cameras) or not np.isfinite(means).all():
            raise ValueError("damaged means")
        return cls(cameras, means, crops)


def calibrate_site(
    features: NDArray[np.float32],
    cameras: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]] | None = None,
    *,
    seed: int = 0,
) -> SiteMeans:
    """Return the mean feature of each camera.

    `features` (N, D) are L2-normalised, `cameras` (N,) their 0-based cameras; rows of an unknown camera (-1) are not used. `groups`
    (N,) numbers the tracks or people of the crops, -1 if unknown; None if no crop has one. Of each camera at most 100 crops are used,
    spread over its groups.

    Raises DataError where the means would do harm: fewer than two cameras, fewer than 25 crops or 8 groups in a camera, more than
    40 % of a camera's crops of one person, or means that differ no more than those of crops that were divided at random.
    """
    known = np.unique(cameras[cameras >= 0])
    if len(known) < 2:
        raise DataError(
            f"{len(known)} cameras: a site calibration compares at least two; give crops of more cameras"
        )
    groups = np.full(len(features), -1) if groups is None else groups
    random = np.random.default_rng(seed)
    chosen = [_spread(np.flatnonzero(cameras == camera), groups, random) for camera in known]
    usual = _usual_distance([features[rows] for rows in chosen])
    for camera, rows in zip(known, chosen):
        _check_camera(int(camera), features[rows], groups[rows], usual)
    rows, sizes = np.concatenate(chosen), [len(part) for part in chosen]
    if (share := chance(features[rows], np.repeat(known, sizes), groups[rows], random)) > CHANCE:
        raise DataError(
            f"the means of the cameras differ no more than by chance ({share:.0%} of random divisions differ as much), so subtracting "
            "them would only add noise; search without a site calibration"
        )
    means = np.stack([features[part].mean(axis=0) for part in chosen])
    return SiteMeans(tuple(known.tolist()), means.astype(np.float32), tuple(sizes))


def _spread(
    rows: NDArray[np.int64], groups: NDArray[np.integer[Any]], random: np.random.Generator
) -> NDArray[np.int64]:
    """Return at most MOST of the `rows`, in turn from each group."""
    rows = random.permutation(rows)
    turn: dict[int, int] = {}
    turns = np.empty(len(rows), np.int64)
    for at, group in enumerate(groups[rows].tolist()):
        turns[at] = turn.get(group, 0) if group >= 0 else 0
        turn[group] = turn.get(group, 0) + 1
    return np.sort(rows[np.argsort(turns, kind="stable")[:MOST]])


def _usual_distance(parts: list[NDArray[np.float32]]) -> float:
    """Return the usual distance between two people of one camera."""
    return max(float(np.quantile(1 - part @ part.T, FARTHEST)) for part in parts)


def _check_camera(
    camera: int, features: NDArray[np.float32], groups: NDArray[np.integer[Any]], usual: float
) -> None:
    if len(features) < FEWEST:
        raise DataError(
            f"camera {camera} has {len(features)} crops, but its mean needs {FEWEST}; add more crops of it"
        )
    known = groups[groups >= 0]
    if len(known) and len(np.unique(known)) < FEWEST_TRACKS:
        raise DataError(
            f"the crops of camera {camera} come from {len(np.unique(known))} tracks or people, but its mean needs {FEWEST_TRACKS}; "
            "record it for longer"
        )
    labelled = np.bincount(known).max() / len(features) if len(known) else 0.0
    alike = ((1 - features @ features.T) < NEAR * usual).mean(axis=1).max()
    if max(labelled, alike) > LARGEST_SHARE:
        raise DataError(
            f"{max(labelled, alike):.0%} of the crops of camera {camera} show one person, so its mean would be that of this person; "
            "add crops of others"
        )


def chance(
    features: NDArray[np.float32],
    cameras: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    random: np.random.Generator,
) -> float:
    """Return in which share of random divisions the means differ as much as between the cameras.

    Groups are divided as a whole, because the crops of one track are alike. A crop without a group is one of its own.
    """
    unit = np.where(groups >= 0, groups, groups.max(initial=0) + 1 + np.arange(len(groups)))
    # a group that is in two cameras counts as one in each
    _, unit = np.unique(np.stack([cameras, unit]), axis=1, return_inverse=True)
    unit = unit.ravel()
    labels, places = np.unique(cameras, return_inverse=True)
    camera_of = np.zeros(unit.max() + 1, np.int64)
    camera_of[unit] = places
    sums = np.zeros((len(camera_of), features.shape[1]))
    np.add.at(sums, unit, features.astype(np.float64))
    counts = np.bincount(unit).astype(np.float64)

    def spread(division: NDArray[np.int64]) -> float:
        member = np.zeros((len(labels), len(division)))
        member[division, np.arange(len(division))] = 1
        sizes = np.maximum(member @ counts, 1e-9)
        means = (member @ sums) / sizes[:, None]
        return float((sizes * ((means - sums.sum(axis=0) / counts.sum()) ** 2).sum(axis=1)).sum())

    right = spread(camera_of)
    as_much = sum(spread(random.permutation(camera_of)) >= right for _ in range(DIVISIONS))
    return (as_much + 1) / (DIVISIONS + 1)
