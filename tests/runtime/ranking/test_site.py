"""Site calibration: it undoes what a camera adds, and is refused where its means would do harm."""

from __future__ import annotations

import json

import numpy as np
import pytest

from runtime.errors import DataError
from runtime.ranking.site import FEWEST, MOST, SiteMeans, calibrate_site

DIM = 48


def crops(
    people: int, cameras: int, *, seed: int = 0, shift: float = 1.5, each: int = 2, noise: float = 0.1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops of synthetic people, `each` of every person in every camera; a camera adds a vector of its own to each feature."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(people, DIM)) / np.sqrt(DIM)
    added = random.normal(size=(cameras, DIM)) / np.sqrt(DIM) * shift
    persons = np.repeat(np.arange(people), cameras * each)
    camids = np.tile(np.repeat(np.arange(cameras), each), people)
    table = centres[persons] + added[camids] + random.normal(size=(len(persons), DIM)) * noise
    return (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32), camids, persons


def first_matches(table: np.ndarray, camids: np.ndarray, persons: np.ndarray) -> float:
    """How often the nearest crop of another camera shows the same person."""
    far = 1 - table @ table.T
    far[camids[:, None] == camids[None]] = 9
    return float(np.mean(persons[far.argmin(axis=1)] == persons))


def test_means_of_other_people_make_cameras_comparable() -> None:
    table, camids, persons = crops(120, 3)
    half = persons < 60
    means = calibrate_site(table[half], camids[half])
    others, cameras, people = table[~half], camids[~half], persons[~half]
    assert (
        first_matches(means.apply(others, cameras), cameras, people)
        > first_matches(others, cameras, people) + 0.02
    )
    assert means.cameras == (0, 1, 2) and max(means.crops) <= MOST
    assert np.allclose(np.linalg.norm(means.apply(others, cameras), axis=1), 1, atol=1e-5)


def test_the_means_are_those_of_the_crops() -> None:
    table, camids, _ = crops(20, 2)
    means = calibrate_site(table, camids)
    for camera in (0, 1):
        assert np.allclose(means.means[camera], table[camids == camera].mean(axis=0), atol=1e-6)
    unknown = means.of(np.array([-1, 7]))
    assert np.allclose(unknown, means.means.mean(axis=0), atol=1e-6)
    again = SiteMeans.from_json(json.loads(json.dumps(means.to_json())))
    assert np.array_equal(again.means, means.means) and again.cameras == means.cameras
    with pytest.raises(ValueError, match="damaged"):
        SiteMeans.from_json(means.to_json() | {"cameras": [0]})


def test_too_few_crops_or_cameras_are_refused() -> None:
    table, camids, _ = crops(60, 2)
    few = np.r_[np.flatnonzero(camids == 0), np.flatnonzero(camids == 1)[: FEWEST - 1]]
    with pytest.raises(DataError, match="crops") as caught:
        calibrate_site(table[few], camids[few])
    assert caught.value.code == 3
    with pytest.raises(DataError, match="cameras"):
        calibrate_site(table[camids == 0], camids[camids == 0])
    with pytest.raises(DataError, match="cameras"):
        calibrate_site(table, np.full(len(table), -1))


def test_too_few_tracks_are_refused() -> None:
    table, camids, persons = crops(60, 2)
    with pytest.raises(DataError, match="tracks"):
        calibrate_site(table, camids, persons % 7)
    calibrate_site(table, camids, persons)


def test_one_person_who_dominates_is_refused_with_and_without_labels() -> None:
    table, camids, persons = crops(60, 2)
    one, one_cameras, _ = crops(1, 2, seed=0, each=120, noise=0.04)
    table, camids = np.concatenate([table, one]), np.concatenate([camids, one_cameras])
    groups = np.concatenate([persons, np.full(len(one), 1000)])
    with pytest.raises(DataError, match="one person"):
        calibrate_site(table, camids)
    # a track that is labelled is spread: it gives one crop in turn with the others
    calibrate_site(table, camids, groups)
    few = np.isin(groups, [*range(9), 1000])
    with pytest.raises(DataError, match="one person"):
        calibrate_site(table[few], camids[few], groups[few])


def test_means_that_differ_by_chance_are_refused() -> None:
    refused = 0
    for seed in range(10):
        table, camids, persons = crops(100, 2, seed=seed, shift=0.0)
        # every camera sees other people, whose means differ; the tracks say how much that means
        apart = (persons % 2) == camids
        try:
            calibrate_site(table[apart], camids[apart], persons[apart], seed=seed)
        except DataError as error:
            refused += "chance" in str(error)
    assert refused >= 9
    table, camids, persons = crops(100, 2, shift=0.5)
    apart = (persons % 2) == camids
    calibrate_site(table[apart], camids[apart], persons[apart])
