"""The methods that are compared with `runtime.identities`. They see the mean feature of each track, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.identities.prepared.sequences import Answer, PreparedSequence, TrackKey


@dataclass(frozen=True, eq=False)
class MeanTracks:
    """The T tracks of a sequence in the order of their ends: their `keys`, and their mean features (T, D), L2-normalised.

    Tracks without any usable crop are not among them.
    """

    keys: tuple[TrackKey, ...]
    features: NDArray[np.float32]


def mean_tracks(sequence: PreparedSequence) -> MeanTracks:
    """Return the mean feature of each track of a sequence."""
    ends, means = {}, {}
    for camera in sequence.cameras:
        features = camera.features
        assert features.tracks is not None and features.times is not None
        for track in np.unique(features.tracks[features.tracks >= 0]).tolist():
            rows = features.tracks == track
            mean = features.features[rows].mean(axis=0)
            ends[camera.number, track] = float(features.times[rows].max())
            means[camera.number, track] = mean / np.linalg.norm(mean)
    keys = sorted(ends, key=lambda key: (ends[key], key))
    return MeanTracks(tuple(keys), np.stack([means[key] for key in keys]))


def everybody_apart(sequence: PreparedSequence) -> dict[TrackKey, TrackKey]:
    """Return an identity of its own for each track: what a tracker without re-identification says."""
    return {
        (camera.number, track): (camera.number, track)
        for camera in sequence.cameras
        for track in np.unique(camera.tracks).tolist()
    }


def perfect(sequence: PreparedSequence) -> dict[TrackKey, object]:
    """Return the person of each track as its identity: the best that any association of these tracks can do."""
    return {key: person or ("nobody", key) for key, person in sequence.people_of_tracks().items()}


def nearest(tracks: MeanTracks, threshold: float) -> dict[TrackKey, int]:
    """Return the identities of tracks in the order of their ends.

    Each gets that of the nearest earlier track if its cosine distance is at most `threshold`, or else a new one.
    """
    distances = 1 - tracks.features @ tracks.features.T
    identities: list[int] = []
    for number in range(len(tracks.keys)):
        earlier = distances[number, :number]
        if number and earlier.min() <= threshold:
            identities.append(identities[int(earlier.argmin())])
        else:
            identities.append(number)
    return dict(zip(tracks.keys, identities))


def agglomerated(tracks: MeanTracks, threshold: float) -> dict[TrackKey, int]:
    """Return the clusters of all tracks: average linkage of cosine distances, cut at `threshold`. It sees all tracks at once."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(tracks.keys) < 2:
        return dict.fromkeys(tracks.keys, 0)
    distances = np.maximum(1 - tracks.features @ tracks.features.T, 0).astype(np.float64)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), "average")
    return dict(zip(tracks.keys, fcluster(tree, threshold, "distance").tolist()))


def completed(sequence: PreparedSequence, answer: Mapping[TrackKey, object]) -> Answer:
    """Return the answer with an identity of its own for each track that it leaves out."""
    return {key: answer.get(key, ("left out", key)) for key in everybody_apart(sequence)}


def thresholds(tracks: Sequence[MeanTracks]) -> NDArray[np.float64]:
    """Return the thresholds to try: 50 quantiles of the distances between the tracks of each sequence."""
    pairs = [(1 - one.features @ one.features.T)[np.triu_indices(len(one.keys), 1)] for one in tracks]
    every = np.concatenate(pairs)
    return np.unique(np.quantile(every, np.concatenate([np.linspace(0, 0.1, 40), np.linspace(0.1, 0.4, 10)])))
