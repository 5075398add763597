"""Makes small sequences in memory: people who walk through two cameras, with features that say who is who."""

from __future__ import annotations

import numpy as np

from benchmarks.identities.prepared.sequences import Camera, PreparedSequence
from runtime.features import Features
from runtime.video.boxes import Boxes

FPS, SIZE = 5, (320, 240)


def unit(values):
    values = np.asarray(values, np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def camera(number, passages, *, dim=64, noise=0.05, seed=0):
    """The camera of `passages`, (track, person, first frame, last frame, lane); a person of 0 is nobody. Boxes are exact."""
    random = np.random.default_rng([seed, number])
    rows = [
        (frame, track, person, lane)
        for track, person, first, last, lane in passages
        for frame in range(first, last + 1)
    ]
    rows.sort()
    frames, tracks, persons, lanes = (np.array(column, np.int64) for column in zip(*rows))
    corners = np.column_stack([40 * lanes, np.full(len(rows), 20), 40 * lanes + 30, np.full(len(rows), 100)])
    corners = corners.astype(np.float64)
    base = unit(np.random.default_rng(99).standard_normal((50, dim)))
    features = unit(base[persons] + noise * random.standard_normal((len(rows), dim)))
    numbers = np.concatenate([np.arange(count) for count in np.unique(frames, return_counts=True)[1]])
    times, cameras = frames / FPS, np.full(len(rows), number)
    boxes = Boxes(
        "b.jsonl", frames, corners, times, cameras, tracks, persons, numbers, np.arange(1, len(rows) + 1)
    )
    paths = tuple(f"camera{number}.mp4#frame={frame}&box={box}" for frame, box in zip(frames, numbers))
    made = Features(features, paths, persons, cameras, "0" * 64, frames=frames, times=times, tracks=tracks)
    shown = persons > 0
    return Camera(number, made, boxes, (frames[shown], corners[shown], persons[shown]))


def sequence(*cameras, frames=100, name="made"):
    return PreparedSequence(name, "exact", frames, FPS, SIZE, cameras, 5.0)


def crowd(people=12, *, seed=0, noise=0.05, together=2):
    """Everybody passes through camera 1 and, after everybody else, through camera 2. Some are in a camera `together`."""
    every = [(p, p, 8 * ((p - 1) // together), (p - 1) % together) for p in range(1, people + 1)]
    later = 8 * (people // together + 1)
    first, second = (
        [(track, person, start + wait, start + wait + 6, lane) for track, person, start, lane in every]
        for wait in (0, later)
    )
    cameras = (camera(1, first, noise=noise, seed=seed), camera(2, second, noise=noise, seed=seed))
    return sequence(*cameras, frames=2 * later)
