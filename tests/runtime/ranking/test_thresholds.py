"""Thresholds: the bound against scipy, the definitions against a brute force, and held-out rates inside the bound."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import beta, binom
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

from runtime.errors import ConfigError, DataError
from runtime.ranking.probability import fit_probability
from runtime.ranking.proportions import at_most, fewest_trials, most_events, upper_bound
from runtime.ranking.rate_curve import rate_curve
from runtime.ranking.thresholds import (
    Threshold,
    Trials,
    calibrate_threshold,
    equal_error_rate,
    make_trials,
    split_people,
)


@pytest.mark.parametrize(
    ("events", "trials"), [(0, 10), (0, 299), (1, 600), (7, 1000), (50, 100), (999, 1000)]
)
def test_the_bound_is_that_of_clopper_and_pearson(events: int, trials: int) -> None:
    assert upper_bound(events, trials) == pytest.approx(beta.ppf(0.95, events + 1, trials - events), rel=1e-9)
    assert at_most(events, trials, 0.3) == pytest.approx(binom.cdf(events, trials, 0.3), abs=1e-12)


def test_the_fewest_trials_are_the_rule_of_three() -> None:
    assert fewest_trials(0.01) == 299 and fewest_trials(0.001) == 2995
    for rate in (0.5, 0.1, 0.01):
        count = fewest_trials(rate)
        assert upper_bound(0, count) <= rate < upper_bound(0, count - 1)
        assert most_events(count, rate) == 0 and most_events(count - 1, rate) is None
    assert upper_bound(5, 5) == 1


@pytest.mark.parametrize(("trials", "rate"), [(0, 0.1), (30, 0.05), (60, 0.9), (1000, 0.01), (5000, 0.5)])
def test_the_most_events_are_those_whose_bound_is_within_the_rate(trials: int, rate: float) -> None:
    bounds = beta.ppf(0.95, np.arange(trials) + 1, trials - np.arange(trials))
    within = np.flatnonzero(bounds <= rate)
    assert most_events(trials, rate) == (within.max() if len(within) else None)


def people(
    count: int, seed: int, *, dim: int = 32, noise: float = 0.6
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four images of each of `count` synthetic people, one in each of four cameras."""
    random = np.random.default_rng(seed)
    centres = np.repeat(random.normal(size=(count, dim)), 4, axis=0)
    table = centres + random.normal(size=centres.shape) * noise
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    return table.astype(np.float32), np.repeat(np.arange(1, count + 1), 4), np.tile(np.arange(4), count)


def test_trials_equal_a_brute_force() -> None:
    table, pids, camids = people(60, 3)
    split = split_people(pids, camids, fpir=0.1, enrolled=20, seed=1)
    assert len(split[0]) == 20 and len(split[1]) == 40 and not set(split[0]) & set(split[1])
    trials = make_trials(table, pids, camids, split, seed=1)
    assert (trials.people, trials.images, len(trials.mated), len(trials.non_mated)) == (20, 60, 20, 40)
    random = np.random.default_rng(1)
    probes = [int(random.choice(np.flatnonzero(pids == pid))) for pid in (*split[0], *split[1])]
    gallery = [n for n in range(len(pids)) if pids[n] in split[0] and n not in probes[:20]]
    for place, probe in enumerate(probes[:20]):
        far = {
            n: 1 - float(table[n] @ table[probe])
            for n in gallery
            if not (pids[n] == pids[probe] and camids[n] == camids[probe])
        }
        own = min(d for n, d in far.items() if pids[n] == pids[probe])
        assert trials.mated[place] == pytest.approx(own, abs=1e-6)
        nearer = {pids[n] for n, d in far.items() if d < own and pids[n] != pids[probe]}
        assert trials.ranks[place] == 1 + len(nearer)
        assert trials.right[place] == (pids[min(far, key=lambda n: far[n])] == pids[probe])
    for place, probe in enumerate(probes[20:]):
        nearest = min(1 - float(table[n] @ table[probe]) for n in gallery)
        assert trials.non_mated[place] == pytest.approx(nearest, abs=1e-6)


def made(non_mated: np.ndarray, mated: np.ndarray | None = None) -> Trials:
    mated = np.linspace(0.01, 0.5, 50).astype(np.float32) if mated is None else mated
    one = np.ones(len(mated), np.int64)
    return Trials(
        10,
        30,
        non_mated.astype(np.float32),
        mated,
        one,
        mated,
        one.astype(bool),
        mated,
        non_mated.astype(np.float32),
    )


def test_the_threshold_is_the_largest_distance_within_the_bound() -> None:
    distances = np.random.default_rng(0).uniform(0.2, 1, 600)
    threshold = calibrate_threshold(made(distances), 0.01)
    assert threshold.false_positives == 1 and threshold.bound == pytest.approx(beta.ppf(0.95, 2, 599))
    assert threshold.bound <= 0.01 < upper_bound(2, 600)
    order = np.sort(distances.astype(np.float32))
    assert order[0] <= threshold.distance < order[1]
    # a hair more would accept the next one
    assert np.nextafter(np.float32(threshold.distance), np.float32(2)) == order[1]
    assert threshold.fmr == pytest.approx(1 / 600)
    assert Threshold.from_json(threshold.to_json()) == threshold


def test_equal_distances_are_all_left_out() -> None:
    distances = np.concatenate([[0.3] * 5, np.linspace(0.4, 1, 595)])
    threshold = calibrate_threshold(made(distances), 0.01)
    assert threshold.false_positives == 0 and threshold.distance < np.float32(0.3)


def test_too_few_searches_are_refused_with_the_number_that_is_needed() -> None:
    with pytest.raises(DataError, match="299") as caught:
        calibrate_threshold(made(np.ones(298)), 0.01)
    assert caught.value.code == 3
    assert calibrate_threshold(made(np.ones(299)), 0.01).false_positives == 0
    for rate in (0, 1, -0.1):
        with pytest.raises(ConfigError):
            calibrate_threshold(made(np.ones(299)), rate)
        with pytest.raises(ConfigError):
            split_people(np.ones(9, np.int64), np.ones(9, np.int64), fpir=rate)
    table, pids, camids = people(100, 0)
    # 29 must stay out, so that what the message advises can be done
    with pytest.raises(DataError, match="10 to 71"):
        split_people(pids, camids, fpir=0.1, enrolled=72)
    assert len(split_people(pids, camids, fpir=0.1, enrolled=71)[0]) == 71
    with pytest.raises(DataError, match="299"):
        split_people(pids, camids, fpir=0.01)
    with pytest.raises(DataError, match="two cameras"):
        split_people(pids, np.zeros_like(camids), fpir=0.1)


def test_held_out_rates_stay_inside_the_bound() -> None:
    """Strangers who had no part in the calibration are accepted at no more than the stated rate, in 17 of 20 random splits."""
    inside = 0
    for seed in range(20):
        table, pids, camids = people(680, seed)
        split = split_people(pids, camids, fpir=0.01, enrolled=60, seed=seed)
        threshold = calibrate_threshold(make_trials(table, pids, camids, split, seed=seed), 0.01)
        # so many that their own rate is hardly a matter of chance
        strangers = people(4000, 1000 + seed)[0][::4]
        enrolled = table[np.isin(pids, split[0])]
        nearest = (1 - strangers @ enrolled.T).min(axis=1)
        inside += np.mean(nearest <= threshold.distance) <= threshold.bound
    assert inside >= 17


def test_the_rate_grows_with_the_number_of_people() -> None:
    threshold = calibrate_threshold(made(np.linspace(0.2, 1, 600)), 0.01)
    assert threshold.expected(10) == pytest.approx(threshold.bound)
    assert threshold.expected(20) == pytest.approx(1 - (1 - threshold.bound) ** 2)


def test_the_equal_error_rate_is_that_of_the_roc_curve() -> None:
    random = np.random.default_rng(0)
    genuine, impostor = random.normal(0.3, 0.1, 4000), random.normal(0.6, 0.12, 9000)
    labels = np.r_[np.ones(4000), np.zeros(9000)]
    false, true, _ = roc_curve(labels, -np.r_[genuine, impostor])
    at = np.argmin(np.abs(false - (1 - true)))
    got = equal_error_rate(genuine.astype(np.float32), impostor.astype(np.float32))
    assert got == pytest.approx((false[at] + 1 - true[at]) / 2, abs=1e-3)
    assert np.isnan(equal_error_rate(np.empty(0, np.float32), impostor.astype(np.float32)))


def test_the_probability_is_that_of_a_logistic_regression() -> None:
    random = np.random.default_rng(0)
    distances = (
        np.r_[random.normal(0.3, 0.1, 500), random.normal(0.6, 0.1, 800)].clip(0.01, 1.5).astype(np.float32)
    )
    right = np.r_[np.arange(500) % 10 != 0, np.zeros(800, bool)]
    probability = fit_probability(distances, right, mated=500)
    similar = 1 - distances.astype(float) / 2
    x = np.log(similar / (1 - similar))[:, None]
    weights = np.r_[np.full(500, 0.5 / 500), np.full(800, 0.5 / 800)]
    oracle = LogisticRegression(C=1e9, max_iter=10_000, tol=1e-10).fit(x, right, sample_weight=weights * 1300)
    expected = oracle.predict_proba(x)[:, 1]
    assert [probability(float(d)) for d in distances[::50]] == pytest.approx(list(expected[::50]), abs=0.02)
    assert probability(0.1) > 0.9 > 0.1 > probability(0.9)


def test_with_many_searches_the_probability_is_an_isotonic_regression() -> None:
    random = np.random.default_rng(0)
    distances = np.r_[random.uniform(0, 1, 1500), random.uniform(0.3, 1, 700)].astype(np.float32)
    right = np.r_[random.uniform(size=1500) > distances[:1500], np.zeros(700, bool)]
    probability = fit_probability(distances, right, mated=1500)
    weights = np.r_[np.full(1500, 0.5 / 1500), np.full(700, 0.5 / 700)]
    oracle = IsotonicRegression(increasing=False).fit(distances, right, sample_weight=weights)
    assert [probability(float(d)) for d in distances[::20]] == pytest.approx(
        list(oracle.predict(distances[::20])), abs=1e-6
    )


def test_the_curve_has_the_rate_and_the_bound_of_every_distance() -> None:
    random = np.random.default_rng(0)
    for searches in (1, 40, 700):
        nearest = np.round(random.uniform(0.1, 0.9, searches), 3).astype(np.float32)
        curve = rate_curve(nearest)
        assert len(curve.distances) <= 100 and list(curve.distances) == sorted(curve.distances)
        for distance in (0, 0.5, 1, *nearest[:50].tolist()):
            rate, bound = curve.at(distance)
            right = float(np.mean(nearest <= np.float32(distance)))
            # exact up to 50 false positives, and later never too low and at most a step of 2 % too high
            assert right <= rate <= right + (0 if right * searches < 50 else 0.0205)
            events = round(rate * searches)
            expected = 1 if events == searches else beta.ppf(0.95, events + 1, searches - events)
            assert bound == pytest.approx(expected, rel=1e-9)


def test_the_curve_agrees_with_the_threshold_and_survives_its_record() -> None:
    threshold = calibrate_threshold(made(np.linspace(0.2, 1, 600)), 0.01)
    assert threshold.curve.at(threshold.distance) == (threshold.false_positives / 600, threshold.bound)
    assert threshold.curve.at(float(np.nextafter(np.float32(threshold.distance), np.float32(2))))[1] > 0.01
    copy = Threshold.from_json(json.loads(json.dumps(threshold.to_json())))
    assert copy.curve.at(0.5) == threshold.curve.at(0.5)
