"""Synthetic features that vary like measured ones: people between each other, and the images of a person among themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# People that are drawn at a time.
BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Spread:
    """How labelled features vary: around their `mean` (D,), people with the covariance `between` @ `between`.T, (D, D).

    `residuals` (N, D) are what is left of each image without the mean of its person, scaled to the variation of single images.
    """

    mean: NDArray[np.float32]
    between: NDArray[np.float32]
    residuals: NDArray[np.float32]


def measure_spread(features: NDArray[np.float32], pids: NDArray[np.int64]) -> Spread:
    """Return the spread of labelled features (N, D) of people (N,) with at least two images each."""
    people, places, counts = np.unique(pids, return_inverse=True, return_counts=True)
    means = np.zeros((len(people), features.shape[1]), np.float64)
    np.add.at(means, places, features)
    means /= counts[:, None]
    mean = means.mean(axis=0)
    # the mean of k images hides a part of 1 / k of the variation
    scale = np.sqrt(counts / np.maximum(counts - 1, 1))[places, None]
    residuals = (features - means[places]) * scale
    centred = means - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / max(1, len(people) - 1))
    between = vectors * np.sqrt(np.maximum(values, 0))
    return Spread(mean.astype(np.float32), between.astype(np.float32), residuals.astype(np.float32))


def draw(
    spread: Spread, people: int, images: int, seed: int = 0
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield (features (n, D) of length 1, people (n,) from 0) of `people` synthetic people with `images` images each.

    A person is drawn from a normal distribution with the measured covariance, and each image gets a measured residual of some other
    person's image, with a random sign.
    """
    random = np.random.default_rng(seed)
    for first in range(0, people, BLOCK):
        count = min(BLOCK, people - first)
        drawn = random.normal(size=(count, len(spread.mean))).astype(np.float32) @ spread.between.T
        centres = np.repeat(spread.mean + drawn, images, axis=0)
        chosen = spread.residuals[random.integers(len(spread.residuals), size=len(centres))]
        signs = random.choice(np.array([-1, 1], np.float32), size=(len(centres), 1))
        features = centres + signs * chosen
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        yield features, np.repeat(np.arange(first, first + count), images)
