"""Bounds of a proportion that was counted (Clopper and Pearson, "The use of confidence or fiducial limits", 1934)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

CONFIDENCE = 0.95


def upper_bound(events: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of a probability, of which `events` happened in `trials`.

    It is the largest probability with which `events` or fewer would happen with a probability of at least 1 - `confidence`. With no
    event it is about 3 / trials.
    """
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(events, trials, middle) > 1 - confidence else (low, middle)
    return high


def fewest_trials(rate: float, confidence: float = CONFIDENCE) -> int:
    """Return the fewest trials without an event after which the upper bound is at most `rate` (0..1, both excluded)."""
    return max(1, math.ceil(math.log(1 - confidence) / math.log1p(-rate)))


def most_events(trials: int, rate: float, confidence: float = CONFIDENCE) -> int | None:
    """Return the most events in `trials` whose upper bound is at most `rate` (0..1); None if there is no such number."""
    events, total = -1, 0.0
    for probability in _probabilities(trials, rate):
        total += probability
        if total > 1 - confidence:
            break
        events += 1
    return None if events < 0 else events


def at_most(events: int, trials: int, rate: float) -> float:
    """Return the probability of `events` or fewer in `trials`, each with the probability `rate` (a binomial distribution)."""
    if rate <= 0:
        return 1.0
    if rate >= 1:
        return float(events >= trials)
    return min(1.0, math.fsum(islice(_probabilities(trials, rate), events + 1)))


def _probabilities(trials: int, rate: float) -> Iterator[float]:
    """Yield the probability of 0, 1, ... `trials` events."""
    first = math.lgamma(trials + 1)
    for count in range(trials + 1):
        yield math.exp(
            first
            - math.lgamma(count + 1)
            - math.lgamma(trials - count + 1)
            + count * math.log(rate)
            + (trials - count) * math.log1p(-rate)
        )
