"""The ratio of two medians with its 95 % interval, by a block bootstrap. Measures nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from benchmarks.timing import Times

DRAWS = 2000


PARTS = 100


@dataclass(frozen=True)
class Interval:
    """`ratio` of two medians (above 1: the other is faster) and the interval that holds it with 95 % confidence."""

    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """In a word: faster, slower, or undecided where the interval holds 1."""
        return "faster" if self.low > 1 else "slower" if self.high < 1 else "undecided"


def interval(base: Times, other: Times, *, paired: bool, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Median of `base` (n,) over median of `other` (m,), with its 95 % bootstrap interval.

    Runs of neighbouring rounds are drawn, not single rounds: a machine's slow spells last longer than one. `paired`
    rounds were interleaved (n = m) and are drawn together, so that a spell that hit both cancels.
    """
    random = np.random.default_rng(seed)
    starts = _starts(random, len(base), draws)
    others = starts if paired else _starts(random, len(other), draws)
    ratios = _medians(base, starts) / _medians(other, others)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Interval(float(np.median(base) / np.median(other)), float(low), float(high))


def _starts(random: np.random.Generator, count: int, draws: int) -> NDArray[np.int64]:
    """(draws, runs): where each run of neighbouring rounds begins."""
    return random.integers(0, count, (draws, -(-count // _length(count))))


def _length(count: int) -> int:
    """How many rounds a run has: about the square root of all."""
    return max(1, round(math.sqrt(count)))


def _medians(values: Times, starts: NDArray[np.int64]) -> Times:
    """(draws,) medians of as many values as there are, taken in runs from `starts` on, around the end again."""
    count, length = len(values), _length(len(values))
    runs = sliding_window_view(np.concatenate([values, values[: length - 1]]), length)
    # not all draws at once: a minute of a fast engine has tens of thousands of rounds, and a small board little memory
    drawn = (runs[some].reshape(len(some), -1)[:, :count] for some in np.array_split(starts, PARTS))
    return np.concatenate([np.median(one, axis=1, overwrite_input=True) for one in drawn])
