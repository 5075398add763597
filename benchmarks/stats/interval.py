"""Compute the ratio of two models' median times, and its 95 % interval by a block bootstrap over the rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from runtime.host.stopwatch import Times

DRAWS = 2000
# The draws are computed in this many parts, to bound the memory.
PARTS = 100


@dataclass(frozen=True)
class Interval:
    """The `ratio` of two models' median times and its 95 % confidence interval, from `low` to `high`.

    The ratio is the time of the first model divided by that of the second. Above 1, the second model is faster.
    """

    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Return whether the second model is "faster" or "slower". It is "undecided" if the interval contains 1."""
        return "faster" if self.low > 1 else "slower" if self.high < 1 else "undecided"


def interval(base: Times, other: Times, *, paired: bool, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Return the median of `base` (n,) divided by the median of `other` (m,), with its 95 % bootstrap interval.

    The arguments are the times of two models in n and m rounds. The bootstrap draws blocks of consecutive rounds, because a slow
    phase of a machine lasts longer than one round. It is repeated `draws` times with the random seed `seed`. `paired` means that both
    models were called in each round (n = m). Their times in a round are then drawn together, so that a slow phase that hit both models
    cancels in the ratio.
    """
    random = np.random.default_rng(seed)
    starts = _starts(random, len(base), draws)
    others = starts if paired else _starts(random, len(other), draws)
    ratios = _medians(base, starts) / _medians(other, others)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Interval(float(np.median(base) / np.median(other)), float(low), float(high))


def _starts(random: np.random.Generator, count: int, draws: int) -> NDArray[np.int64]:
    """Return an array (draws, blocks) with the index of the first round of each drawn block."""
    return random.integers(0, count, (draws, -(-count // _length(count))))


def _length(count: int) -> int:
    """Return the number of rounds in a block: about the square root of `count`."""
    return max(1, round(math.sqrt(count)))


def _medians(values: Times, starts: NDArray[np.int64]) -> Times:
    """Return (draws,) the median of every draw.

    A draw has as many values as `values`. It consists of the blocks that begin at the indices `starts` (draws, blocks). A block that
    reaches the end of `values` continues at their beginning.
    """
    count, length = len(values), _length(len(values))
    blocks = sliding_window_view(np.concatenate([values, values[: length - 1]]), length)
    # The draws are computed in parts, because a minute of a fast model has tens of thousands of rounds, and a small board has little
    # memory.
    parts = (blocks[part].reshape(len(part), -1)[:, :count] for part in np.array_split(starts, PARTS))
    return np.concatenate([np.median(draws, axis=1, overwrite_input=True) for draws in parts])
