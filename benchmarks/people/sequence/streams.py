"""The random numbers of sequences, which no data set of `benchmarks.people.plan.Plan` shares."""

from __future__ import annotations

import numpy as np

# The second word of the entropy. Data sets use 0 to 4, 77 and 78 there.
STREAM = {
    "person": 1001,
    "gait": 1002,
    "route": 1003,
    "place": 1004,
    "furniture": 1005,
    "detections": 1006,
    "one camera": 1007,
}


def entropy(seed: int, stream: str, number: int) -> list[int]:
    """Return the words from which numpy makes the random numbers of `stream` (a key of STREAM) for one number, such as a person's."""
    return [seed, STREAM[stream], number]


def generator(seed: int, stream: str, number: int) -> np.random.Generator:
    """Return the random generator of `stream` for one number. `seed` is 0 to 2**32 - 1."""
    return np.random.default_rng(entropy(seed, stream, number))


def place_seed(seed: int) -> int:
    """Return the seed from which a sequence makes its textures and places, which is another one than the sequence's own."""
    return int(np.random.SeedSequence(entropy(seed, "place", 0)).generate_state(1, np.uint64)[0])
