"""Measure whether calibrated thresholds keep their bound on people who had no part in the calibration."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError
from runtime.features import Features
from runtime.ranking.proportions import upper_bound
from runtime.ranking.site import calibrate_site
from runtime.ranking.thresholds import (
    FEWEST_ENROLLED,
    calibrate_threshold,
    choose_images,
    make_trials,
    split_people,
)


@dataclass(frozen=True)
class Split:
    """One random split of the people.

    The calibration counted `false_positives` within the threshold's `distance`, and states the 95 % upper `bound` of their rate. The
    searches for held-out people had `held_out_false_positives`, at the rate `held_out_fpir`. `inside` says whether this rate is within
    the bound. `tpir_rank1` is the share of the searches for enrolled people that find them first and within the threshold.
    """

    distance: float
    false_positives: int
    bound: float
    held_out_false_positives: int
    held_out_fpir: float
    inside: bool
    tpir_rank1: float


@dataclass(frozen=True)
class HeldOut:
    """The result over the random splits of one set of people.

    `people` were split into `enrolled` ones, `calibration` people and `held_out` people who are not enrolled; one probe counts for
    each. `site` says whether a site calibration was applied. `inside` of the `splits` kept the held-out rate within the stated bound.
    `fpir` is the rate that was asked for, and `median_fpir` and `largest_fpir` are those of the held-out people. `held_out_bound` is
    the 95 % upper bound of a rate with as many false positives as the splits have on average. `eer` is the median equal error rate of
    single comparisons.
    """

    name: str
    people: int
    enrolled: int
    calibration: int
    held_out: int
    fpir: float
    site: bool
    splits: int
    inside: int
    median_bound: float
    median_fpir: float
    largest_fpir: float
    held_out_bound: float
    median_tpir_rank1: float
    eer: float
    each: tuple[Split, ...]


def measure_thresholds(
    name: str,
    features: Features,
    *,
    fpir: float,
    enrolled: int,
    held_out: int,
    splits: int,
    site: bool = False,
    seed: int = 0,
) -> HeldOut:
    """Split the people of `features` at random, calibrate with one part, and search for the other.

    With `site`, the mean features of the cameras of the calibration people are subtracted from all features first.

    Raises DataError if there are too few people for this rate.
    """
    people = np.unique(features.pids[features.pids > 0])
    if len(people) - held_out < FEWEST_ENROLLED:
        raise DataError(f"{name}: {len(people)} people, but {held_out} are held out; hold out fewer")
    each, rates = [], []
    for number in range(splits):
        order = np.random.default_rng([seed, number]).permutation(people)
        split, eer = _one(features, order[:held_out], order[held_out:], fpir, enrolled, number, site=site)
        each.append(split)
        rates.append(eer)
    wrong = sum(split.held_out_false_positives for split in each)
    return HeldOut(
        name,
        people=len(people),
        enrolled=enrolled,
        calibration=len(people) - held_out - enrolled,
        held_out=held_out,
        fpir=fpir,
        site=site,
        splits=splits,
        inside=sum(split.inside for split in each),
        median_bound=statistics.median(split.bound for split in each),
        median_fpir=statistics.median(split.held_out_fpir for split in each),
        largest_fpir=max(split.held_out_fpir for split in each),
        held_out_bound=upper_bound(round(wrong / splits), held_out),
        median_tpir_rank1=statistics.median(split.tpir_rank1 for split in each),
        eer=statistics.median(rates),
        each=tuple(each),
    )


def _one(
    features: Features,
    strangers: NDArray[np.int64],
    rest: NDArray[np.int64],
    fpir: float,
    enrolled: int,
    seed: int,
    *,
    site: bool,
) -> tuple[Split, float]:
    chosen = np.isin(features.pids, rest)
    if site:
        means = calibrate_site(features.features[chosen], features.camids[chosen], seed=seed)
        features = replace(features, features=means.apply(features.features, features.camids))
    table, pids, camids = features.features[chosen], features.pids[chosen], features.camids[chosen]
    split = split_people(pids, camids, fpir=fpir, enrolled=enrolled, seed=seed)
    threshold = calibrate_threshold(make_trials(table, pids, camids, split, seed=seed), fpir)
    # the same gallery as in the calibration, searched for one image of each stranger
    _, _, gallery = choose_images(pids, split, seed=seed)
    random = np.random.default_rng([seed, 1])
    outside = [int(random.choice(np.flatnonzero(features.pids == pid))) for pid in strangers]
    nearest = (np.float32(1) - features.features[outside] @ table[gallery].T).min(axis=1)
    wrong = int((nearest <= threshold.distance).sum())
    rate = wrong / len(outside)
    return (
        Split(
            threshold.distance,
            threshold.false_positives,
            threshold.bound,
            wrong,
            rate,
            bool(rate <= threshold.bound),
            threshold.tpir["1"],
        ),
        threshold.eer,
    )
