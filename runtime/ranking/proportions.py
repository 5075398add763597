"""Bounds of a proportion that was counted (Clopper and Pearson, "The use of confidence or fiducial limits", 1934)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
# Enough for the precision of a float.
HALVINGS = 60


def upper_bound(events: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of a probability, of which `events` happened in `trials`.

    It is the largest probability with which `events` or fewer would happen with a probability of at least 1 - `confidence`. With no
    event it is about 3 / trials.
    """
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(events, trials, middle) > 1 - confidence else (low, middle)
    return high


def fewest_trials(rate: float, confidence: float = CONFIDENCE) -> int:
    """Return the fewest trials without an event after which the upper bound is at most `rate` (0..1, both excluded)."""
    return max(1, math.ceil(math.log(1 - confidence) / math.log1p(-rate)))


def most_events(trials: int, rate: float, confidence: float = CONFIDENCE) -> int | None:
    """Return the most events in `trials` whose upper bound is at most `rate` (0..1); None if there is no such number."""
    within = int((np.cumsum(_probabilities(trials, trials, rate)) <= 1 - confidence).sum())
    return within - 1 if within else None


def at_most(events: int, trials: int, rate: float) -> float:
    """Return the probability of `events` or fewer in `trials`, each with the probability `rate` (a binomial distribution)."""
    if rate <= 0:
        return 1.0
    if rate >= 1:
        return float(events >= trials)
    return min(1.0, float(_probabilities(min(events, trials), trials, rate).sum()))


def _probabilities(events: int, trials: int, rate: float) -> NDArray[np.float64]:
    """Return the probabilities of 0, 1, ... `events` events, (`events` + 1,)."""
    counts = np.arange(1, events + 1)
    ratios = np.log((trials - counts + 1) / counts) + (math.log(rate) - math.log1p(-rate))
    return np.asarray(np.exp(trials * math.log1p(-rate) + np.concatenate([[0.0], np.cumsum(ratios)])))
