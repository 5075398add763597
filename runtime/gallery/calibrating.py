"""Calibrate a gallery: a threshold from labelled people, the means of its cameras from its own rows. Each becomes a record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ConfigError, DataError
from runtime.features import Features
from runtime.gallery.api import Gallery
from runtime.gallery.calibrations import OFF, SITE, THRESHOLD, write_calibration
from runtime.gallery.space import same_space, space_of_features
from runtime.gallery.store.schema import transaction
from runtime.images.decode import read_bytes
from runtime.ranking.site import SiteMeans, calibrate_site
from runtime.ranking.thresholds import Threshold, calibrate_threshold, make_trials, split_people


@dataclass(frozen=True)
class ThresholdOptions:
    """How to calibrate a threshold.

    `fpir` is the rate of false positives that is allowed (0..1). `enrolled` is the number of people of the gallery that is simulated
    (None: a third of all). `seed` decides who is enrolled. `crops` is how many images of people are kept in the gallery, so that the
    threshold can be carried over to another file of the model; they are personal data.
    """

    fpir: float = 0.01
    enrolled: int | None = None
    seed: int = 0
    crops: int = 0


def calibrate_gallery_threshold(
    gallery: Gallery, people: list[Features], options: ThresholdOptions
) -> tuple[int, Threshold]:
    """Calibrate a threshold from `people`, features of labelled people, or from the rows of the gallery if the list is empty.

    Returns the id of the record and the threshold, which searches use from now on. The site calibration of the gallery is applied
    to the features. Raises ArtifactError for features of another space, and DataError for too few people.
    """
    for features in people:
        same_space(gallery.space, space_of_features(features), str(gallery.store.folder))
    if not people:
        if options.crops:
            raise ConfigError("crops are kept from feature files only; give labelled people (--people)")
        table, pids, camids = _own_rows(gallery)
    else:
        table = np.concatenate([features.features for features in people])
        pids = np.concatenate([features.pids for features in people])
        camids = np.concatenate([features.camids for features in people])
    calibration = gallery.calibration
    plain = table
    if calibration.site is not None:
        table = calibration.site.apply(table, camids)
    split = split_people(pids, camids, fpir=options.fpir, enrolled=options.enrolled, seed=options.seed)
    trials = make_trials(table, pids, camids, split, seed=options.seed)
    threshold = calibrate_threshold(trials, options.fpir)
    crops = _crops(people, pids, split[0], options.crops, options.seed)
    record = {"threshold": threshold.to_json(), "site": calibration.site_id, "seed": options.seed}
    number = write_calibration(gallery.store, THRESHOLD, record)
    if crops:
        _keep(gallery, number, people, crops, plain)
    return number, threshold


def calibrate_gallery_site(gallery: Gallery, *, seed: int = 0) -> tuple[int, SiteMeans]:
    """Calibrate the means of the cameras from the rows of the gallery; return the id of the record and the means.

    Searches use them from now on. Tracks, or else people, spread the crops; labels are not needed. Raises DataError where the means
    would do harm (`runtime.ranking.site.calibrate_site`).
    """
    ids = gallery.ids()
    if not ids:
        raise DataError(f"{gallery.store.folder}: the gallery is empty; add images of at least two cameras")
    columns = gallery.columns()
    chosen = _sample(columns.cameras, columns.groups, seed)
    _, features = gallery.rows([columns.ids[row] for row in chosen])
    groups = columns.groups[chosen]
    means = calibrate_site(features, columns.cameras[chosen], groups, seed=seed)
    return write_calibration(gallery.store, SITE, means.to_json()), means


def switch_off(gallery: Gallery, kind: str) -> int:
    """Use no calibration of a kind (SITE or THRESHOLD) from now on, and return the id of the record that says so."""
    return write_calibration(gallery.store, kind, {OFF: True})


def _sample(cameras: NDArray[np.int64], groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return at most 1,000 rows of each known camera, at random, of which the calibration takes what it needs."""
    random = np.random.default_rng(seed)
    parts = [
        random.permutation(np.flatnonzero(cameras == camera))[:1000]
        for camera in np.unique(cameras[cameras >= 0])
    ]
    return np.sort(np.concatenate([*parts, np.empty(0, np.int64)])).astype(np.int64)


def _own_rows(gallery: Gallery) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    columns = gallery.columns()
    known = np.flatnonzero(columns.persons > 0)
    _, features = gallery.rows([columns.ids[row] for row in known])
    return features, columns.persons[known], columns.cameras[known]


def _crops(
    people: list[Features], pids: NDArray[np.int64], enrolled: NDArray[np.int64], count: int, seed: int
) -> list[int]:
    """Return the rows of about `count` images: two of each person, of as many people as that takes."""
    random = np.random.default_rng(seed)
    rows: list[int] = []
    for pid in random.permutation(np.unique(pids[pids > 0])):
        if len(rows) >= count:
            break
        rows += random.permutation(np.flatnonzero(pids == pid))[:2].tolist()
    return rows[:count]


def _keep(
    gallery: Gallery, number: int, people: list[Features], rows: list[int], table: NDArray[np.float32]
) -> None:
    """Store images of people with the calibration `number`, to check another file of the model with them."""
    paths = [path for features in people for path in features.paths]
    digests = [digest for features in people for digest in features.images or [""] * len(features.paths)]
    pids = np.concatenate([features.pids for features in people])
    camids = np.concatenate([features.camids for features in people])
    records: list[tuple[Any, ...]] = []
    for row in rows:
        data = read_bytes(paths[row])
        digest = hashlib.sha256(data).hexdigest()
        if digest != digests[row]:
            raise DataError(
                f"{paths[row]}: has changed since its features were extracted; extract them again"
            )
        feature = table[row].astype("<f4").tobytes()
        camera = None if camids[row] < 0 else int(camids[row])
        records.append((number, str(pids[row]), camera, bytes.fromhex(digest), feature, data))
    with gallery.store.writing() as db, transaction(db):
        db.executemany(
            "INSERT INTO calibration_crop (calibration, person, camera, sha256, feature, image) VALUES (?, ?, ?, ?, ?, ?)",
            records,
        )
