"""Measure site calibration: camera means from the crops of some people, tested on others, and the cases that it refuses."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime import evaluate
from runtime.errors import DataError
from runtime.features import Features
from runtime.ranking.site import SiteMeans, calibrate_site


@dataclass(frozen=True)
class Gain:
    """R1 and mAP (0..1) of the test people with means from `crops` unlabelled crops a camera of other people.

    `crops` 0 is without a calibration. `r1` and `mean_ap` are medians over `draws` random choices of the crops, `least_r1` and
    `least_mean_ap` the lowest.
    """

    crops: int
    draws: int
    r1: float
    least_r1: float
    mean_ap: float
    least_mean_ap: float


@dataclass(frozen=True)
class Refusal:
    """A case in which a calibration would do harm: how many of `draws` random ones were `refused`.

    `r1_change` is the median change of R1 (0..1) if the means were applied all the same; None where they cannot be computed.
    """

    case: str
    draws: int
    refused: int
    r1_change: float | None


def measure_gain(
    train: Features, query: Features, gallery: Features, *, crops: tuple[int, ...], draws: int
) -> list[Gain]:
    """Calibrate with random crops of `train`, without its labels, and score `query` against `gallery`."""
    plain = evaluate(query, gallery)
    results = [Gain(0, 1, float(plain.cmc[0]), float(plain.cmc[0]), plain.mAP, plain.mAP)]
    for count in crops:
        scores = []
        for draw in range(draws):
            chosen = _some_of_each(train.camids, count, draw)
            means = calibrate_site(train.features[chosen], train.camids[chosen], seed=draw)
            scores.append(evaluate(calibrated(query, means), calibrated(gallery, means)))
        r1, mean_ap = [float(one.cmc[0]) for one in scores], [one.mAP for one in scores]
        results.append(
            Gain(count, draws, statistics.median(r1), min(r1), statistics.median(mean_ap), min(mean_ap))
        )
    return results


def measure_refusals(train: Features, query: Features, gallery: Features, *, draws: int) -> list[Refusal]:
    """Try the cases that a calibration must refuse, with random crops of `train`."""
    cameras, pids = train.camids, train.pids
    plain = float(evaluate(query, gallery).cmc[0])

    def few(draw: int) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        return _some_of_each(cameras, 24, draw), cameras, False

    def one_camera(draw: int) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        return np.flatnonzero(cameras == draw % 2), cameras, False

    def few_tracks(draw: int) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        some = np.random.default_rng(draw).permutation(np.unique(pids))[:7]
        return np.flatnonzero(np.isin(pids, some)), cameras, True

    def one_person(draw: int) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        # all crops of one person in camera 0, three times, among ten crops of ten others
        random = np.random.default_rng(draw)
        person, *others = random.permutation(np.unique(pids))[:11]
        own = np.flatnonzero((pids == person) & (cameras == 0))
        some = [int(random.choice(np.flatnonzero((pids == other) & (cameras == 0)))) for other in others]
        rest = _some_of_each(cameras, 50, draw, only=1)
        return np.concatenate([own, own, own, np.array(some), rest]), cameras, True

    def one_unlabelled(draw: int) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        return *one_person(draw)[:2], False

    def standing_still(draw: int) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        # one crop of one person in camera 0 again and again
        chosen, numbers, _ = one_person(draw)
        return np.concatenate([chosen[24:], np.full(24, chosen[0])]), numbers, False

    def no_difference(draw: int) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        # one camera whose crops are divided at random
        chosen = np.flatnonzero(cameras == draw % 2)
        return chosen, np.random.default_rng(draw).integers(0, 2, len(cameras)), False

    cases: dict[str, Callable[[int], tuple[NDArray[np.int64], NDArray[np.int64], bool]]] = {
        "24 crops a camera": few,
        "one camera": one_camera,
        "7 tracks a camera": few_tracks,
        "one person in 24 of 34 crops, tracks known": one_person,
        "one person in 24 of 34 crops, in 8 poses, tracks unknown": one_unlabelled,
        "one person in 24 of 34 crops, in one pose, tracks unknown": standing_still,
        "two halves of one camera": no_difference,
    }
    results = []
    for name, make in cases.items():
        refused, changes = 0, []
        for draw in range(draws):
            chosen, numbers, tracked = make(draw)
            groups = pids[chosen] if tracked else None
            try:
                calibrate_site(train.features[chosen], numbers[chosen], groups, seed=draw)
            except DataError:
                refused += 1
            if len(np.unique(numbers[chosen])) > 1:
                means = _plain_means(train.features[chosen], numbers[chosen])
                scored = evaluate(calibrated(query, means), calibrated(gallery, means))
                changes.append(float(scored.cmc[0]) - plain)
        results.append(Refusal(name, draws, refused, statistics.median(changes) if changes else None))
    return results


def calibrated(features: Features, means: SiteMeans) -> Features:
    """Return features with the means of their cameras subtracted."""
    return replace(features, features=means.apply(features.features, features.camids))


def _plain_means(features: NDArray[np.float32], cameras: NDArray[np.int64]) -> SiteMeans:
    known = np.unique(cameras)
    parts = [features[cameras == camera] for camera in known]
    means = np.stack([part.mean(axis=0) for part in parts]).astype(np.float32)
    return SiteMeans(tuple(known.tolist()), means, tuple(map(len, parts)))


def _some_of_each(
    cameras: NDArray[np.int64], count: int, seed: int, *, only: int | None = None
) -> NDArray[np.int64]:
    """Return `count` random rows of each known camera, or of the camera `only`."""
    random = np.random.default_rng(seed)
    known = np.unique(cameras[cameras >= 0]) if only is None else [only]
    return np.concatenate([random.permutation(np.flatnonzero(cameras == c))[:count] for c in known])
