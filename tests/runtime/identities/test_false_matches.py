"""Rates of false matches: against known distributions, and from tracks without labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from runtime.errors import ConfigError, DataError
from runtime.identities.false_matches import FalseMatches, distances_of, simultaneous
from tests.runtime.identities.people import direction, track, walk


def test_the_rates_are_those_of_a_known_distribution() -> None:
    random = np.random.default_rng(5)
    drawn = random.normal(0.8, 0.12, 20_000)
    fresh = random.normal(0.8, 0.12, 1_000_000)
    fitted = FalseMatches.fit(drawn)
    for distance in (0.5, 0.6, 0.8, 1.0):
        assert fitted.pair_rate(distance) == pytest.approx(float((fresh <= distance).mean()), rel=0.2)
    # among n candidates, somebody is this near with at most the stated rate, and not far below it
    for candidates, least in ((50, 0.5), (1000, 0.4)):
        nearest = fresh.reshape(-1, candidates).min(axis=1)
        for rate in (0.05, 0.1, 0.3):
            measured = float((nearest <= fitted.distance(rate, candidates)).mean())
            assert least * rate < measured < 1.1 * rate


@pytest.mark.parametrize("candidates", [1, 7, 300, 5000])
def test_rate_and_distance_are_inverse_and_rise(candidates: int) -> None:
    fitted = FalseMatches.fit(np.random.default_rng(6).normal(0.8, 0.12, 900))
    rates = np.linspace(0.001, 0.95, 50)
    distances = [fitted.distance(float(rate), candidates) for rate in rates]
    assert np.all(np.diff(distances) >= 0)
    for rate, distance in zip(rates, distances):
        assert fitted.rate(distance, candidates) == pytest.approx(rate, rel=1e-6)
    assert fitted.distance(0.1, candidates) >= fitted.distance(0.1, candidates + 1)


def test_a_record_keeps_the_distribution() -> None:
    fitted = FalseMatches.fit(np.random.default_rng(6).normal(0.8, 0.12, 300))
    record = json.loads(json.dumps(fitted.to_json()))
    assert FalseMatches.from_json(record) == fitted
    with pytest.raises(ValueError):
        FalseMatches.from_json({**record, "scale": -1})
    with pytest.raises(KeyError):
        FalseMatches.from_json({})


def test_few_distances_and_odd_rates_are_refused() -> None:
    with pytest.raises(DataError, match="199"):
        FalseMatches.fit(np.full(199, 0.5))
    constant = FalseMatches.fit(np.full(200, 0.5))
    assert constant.pair_rate(0.4) < 1e-6 and constant.pair_rate(0.6) == pytest.approx(1)
    for rate in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="rate"):
            constant.distance(rate, 1)


def test_tracks_at_the_same_time_are_two_people() -> None:
    cameras = np.array([0, 0, 0, 1])
    spans = np.array([[0.0, 5.0], [4.0, 8.0], [8.5, 9.0], [0.0, 5.0]])
    same = simultaneous(cameras, spans)
    assert same.sum() == 2 and same[0, 1] and same[1, 0]
    every = simultaneous(cameras, spans, separate_cameras=True)
    assert every[0, 3] and every[1, 3] and not every[2, 3] and not every.diagonal().any()
    assert not simultaneous(cameras, spans, overlap_s=1.5).any()


def test_the_distances_are_those_of_different_people() -> None:
    tracks = walk(people=30)
    distances = distances_of(tracks, separate_cameras=True)
    assert len(distances) > 200
    people = np.stack([direction(person) for person in range(30)])
    products = (people @ people.T)[np.triu_indices(30, 1)]
    # nearly those of the people's own directions, of which the largest product is the smallest distance
    assert distances.min() > 1 - products.max() - 0.1
    with pytest.raises(DataError, match="pairs"):
        FalseMatches.fit(distances_of([track(1, 0, 0, 5), track(2, 0, 1, 6)]))
