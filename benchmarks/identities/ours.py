"""The adapter to `runtime.identities`, the method that is measured: the only module here that knows its interface."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.identities.prepared.sequences import PreparedSequence, TrackKey
from runtime.errors import DataError
from runtime.identities.api import Identities
from runtime.identities.arrivals import order_of
from runtime.identities.collecting import tracks_of
from runtime.identities.events import Event, identities_now
from runtime.identities.false_matches import FalseMatches, distances_of
from runtime.identities.options import IdentityOptions
from runtime.identities.track import Track
from runtime.ranking.site import SiteMeans, calibrate_site


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a site knows before it starts: the distances between `different` people, and the means of its cameras (None: none)."""

    different: FalseMatches
    site: SiteMeans | None


@dataclass(frozen=True, eq=False)
class Identified:
    """What the method said about a sequence: the `answer` after all merges, the `events` in their order, and the CPU time."""

    answer: dict[TrackKey, object]
    events: tuple[Event, ...]
    cpu_s: float


def tracks(sequence: PreparedSequence) -> list[Track]:
    """Return the tracks of all cameras of a sequence in the order of their ends."""
    every = [
        track
        for camera in sequence.cameras
        for track in tracks_of(camera.features, camera.boxes, sequence.size)
    ]
    return sorted(every, key=order_of)


def weighted(track: Track, *, quality: bool, consistency: bool) -> Track:
    """Return a track whose crops all have its weighted mean feature, so that the method, which takes the plain mean, gets that.

    With `quality`, each crop counts by its quality. With `consistency`, it counts by the fourth power of its cosine with the mean.
    """
    weights = np.maximum(track.quality, 0.01) if quality else np.ones(len(track.times))
    mean = _unit(weights @ track.features)
    if consistency:
        mean = _unit((weights * np.maximum(track.features @ mean, 0.01) ** 4) @ track.features)
    return replace(track, features=np.tile(mean.astype(np.float32), (len(track.times), 1)))


def _unit(vector: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return np.asarray(vector / np.linalg.norm(vector))


def calibrate(sequences: Sequence[Sequence[Track]], options: IdentityOptions, *, site: bool) -> Calibration:
    """Return the calibration from the tracks of sequences, with the means of the cameras if `site` is true.

    It uses no identities: tracks at the same time are different people. There are no means where they would do harm.
    """
    crops = [track for one in sequences for track in one]
    means = None
    if site:
        with suppress(DataError):
            means = calibrate_site(
                np.concatenate([track.features for track in crops]),
                np.concatenate([np.full(len(track.times), track.camera) for track in crops]),
                np.concatenate([np.full(len(track.times), number) for number, track in enumerate(crops)]),
            )
    distances = [
        distances_of(list(one), means, separate_cameras=options.separate_cameras, overlap_s=options.overlap_s)
        for one in sequences
    ]
    return Calibration(FalseMatches.fit(np.concatenate(distances)), means)


def identify(
    given: Sequence[Track],
    calibration: Calibration,
    options: IdentityOptions,
    *,
    threshold: float | None = None,
) -> Identified:
    """Return what the method says about the tracks of a sequence. A `threshold` (a distance) replaces the rate of false matches."""
    started = time.process_time()
    identities = Identities(
        None,
        calibration.different if threshold is None else threshold,
        options=options,
        site=calibration.site,
    )
    events = [event for track in given for event in identities.observe(track)] + identities.close()
    spent = time.process_time() - started
    return Identified(final_answer(events), tuple(events), spent)


def final_answer(events: Sequence[Event]) -> dict[TrackKey, object]:
    """Return the identity of each track after all merges."""
    return {(event.camera or 0, int(event.track or 0)): name for event, name in identities_now(events)}
