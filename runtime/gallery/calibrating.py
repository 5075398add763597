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
from runtime.images.decode import read_bytes
from runtime.ranking.site import SiteMeans, calibrate_site
from runtime.ranking.thresholds import Threshold, calibrate_threshold, make_trials, split_people


@dataclass(frozen=True)
class ThresholdOptions:
    """How to calibrate a threshold.

    `fpir` is the rate of false positives that is allowed (0..1). `enrolled` is the number of people of the gallery that is simulated
    (None: a third of all). `seed` decides who is enrolled. `crops` is how many images of people are kept in the gallery, so that
    `transfer_threshold` can check another file of the model with them; they are personal data.
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
    to the features, so their camera numbers must be those of the gallery. A person has the same number in all of `people`. Raises
    ArtifactError for features of another space, ConfigError for a wrong rate, and DataError for too few people; no record is then
    stored.
    """
    for features in people:
        same_space(gallery.space, space_of_features(features), gallery.store.place)
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
    crops = _crops(people, plain, pids, camids, options)
    record = {"threshold": threshold.to_json(), "site": calibration.site_id, "seed": options.seed}
    number = write_calibration(gallery.store, THRESHOLD, record, crops)
    return number, threshold


def calibrate_gallery_site(gallery: Gallery, *, seed: int = 0) -> tuple[int, SiteMeans]:
    """Calibrate the means of the cameras from the rows of the gallery; return the id of the record and the means.

    Searches use them from now on. Tracks, or else people, spread the crops; labels are not needed. Raises DataError where the means
    would do harm (`runtime.ranking.site.calibrate_site`).
    """
    columns = gallery.columns()
    if not columns.ids:
        raise DataError(f"{gallery.store.place}: the gallery is empty; add images of at least two cameras")
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
    people: list[Features],
    table: NDArray[np.float32],
    pids: NDArray[np.int64],
    camids: NDArray[np.int64],
    options: ThresholdOptions,
) -> list[tuple[Any, ...]]:
    """Return `options.crops` images for `write_calibration`: two of each person, of as many people as that takes.

    `table`, `pids` and `camids` are the features, people and cameras of all `people`.
    """
    random = np.random.default_rng(options.seed)
    rows: list[int] = []
    for pid in random.permutation(np.unique(pids[pids > 0])):
        if len(rows) >= options.crops:
            break
        rows += random.permutation(np.flatnonzero(pids == pid))[:2].tolist()
    paths = [path for features in people for path in features.paths]
    digests = [digest for features in people for digest in features.images or [""] * len(features.paths)]
    crops: list[tuple[Any, ...]] = []
    for row in rows[: options.crops]:
        if not digests[row]:
            raise DataError(
                f"{paths[row]}: its features do not name an image file, so no crop can be kept; extract from image files"
            )
        data = read_bytes(paths[row])
        digest = hashlib.sha256(data)
        if digest.hexdigest() != digests[row]:
            raise DataError(
                f"{paths[row]}: has changed since its features were extracted; extract them again"
            )
        camera = None if camids[row] < 0 else int(camids[row])
        crops.append((str(pids[row]), camera, digest.digest(), table[row].astype("<f4").tobytes(), data))
    return crops
