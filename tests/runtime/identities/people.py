"""Tracks of synthetic people: each person is a random direction, and each crop is near to it."""

from __future__ import annotations

import numpy as np

from runtime.identities.track import Track

DIM = 32


def direction(person: int) -> np.ndarray:
    """The feature (D,) of a person; those of two people are nearly orthogonal."""
    vector = np.random.default_rng((7, person)).standard_normal(DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def track(
    person: int, camera: int, first: float, last: float, *, name: str | None = None, noise: float = 0.02
) -> Track:
    """A track of a person with a crop each second; its name is that of the person and the time if none is given."""
    times = np.linspace(first, last, max(int(last - first), 1) + 1)
    seed = (11, person, camera, round(first * 10), round(last * 10))
    crops = direction(person) + noise * np.random.default_rng(seed).standard_normal((len(times), DIM))
    crops /= np.linalg.norm(crops, axis=1, keepdims=True)
    label = name or f"p{person}-{camera}-{first:g}"
    evidence = tuple(f"{label}-{number}" for number in range(len(times)))
    quality = np.linspace(0, 1, len(times), dtype=np.float32)
    return Track(camera, label, times, crops.astype(np.float32), quality, evidence)


def walk(people: int = 12, visits: int = 4, seed: int = 0) -> list[Track]:
    """Tracks of people who go from camera to camera, in the order of their ends. Nobody is in two cameras at once."""
    random = np.random.default_rng(seed)
    tracks = []
    for person in range(people):
        now = float(random.uniform(0, 20))
        for _ in range(visits):
            end = now + float(random.uniform(2, 6))
            tracks.append(track(person, int(random.integers(4)), round(now, 2), round(end, 2)))
            now = end + float(random.uniform(1, 5))
    return sorted(tracks, key=lambda one: one.last_s)
