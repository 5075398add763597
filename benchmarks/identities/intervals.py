"""Intervals: of the difference of two methods, by a paired bootstrap over people, and of a rate that was counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.identities.scores import Hits

DRAWS = 10_000
LEVEL = 0.95


def against(base: Sequence[Hits], other: Sequence[Hits], *, seed: int = 0) -> dict[str, float]:
    """Return how the IDF1 of `other` differs from that of `base`, with 95 % intervals. Each has the hits of the same sequences.

    {difference, low, high} is the mean IDF1 of `other` minus that of `base` (-1..1). {error_cut, error_cut_low, error_cut_high} is the
    part of the IDF1 error of `base` (1 - IDF1) that `other` saves; 1 is all of it.

    In each of DRAWS draws, the people of each sequence are drawn with replacement, for both methods the same ones; the boxes that show
    nobody stay. The identities stay assigned to the people as in the whole sequence. The intervals are percentiles. They say how
    the difference varies with the people, and not with places or cameras.
    """
    random = np.random.default_rng(seed)
    errors = np.zeros((2, DRAWS))
    whole = np.zeros(2)
    for first, second in zip(base, other, strict=True):
        people = len(first.people)
        draws = random.multinomial(people, np.full(people, 1 / people), DRAWS)
        # the last entry is nobody, who is in every draw once
        weights = np.column_stack([draws, np.ones(DRAWS)])
        for method, hits in enumerate((first, second)):
            errors[method] += _errors(hits, weights) / len(base)
            whole[method] += (1 - hits.idf1) / len(base)
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.quantile(errors[0] - errors[1], ends)
    cut_low, cut_high = np.quantile(1 - errors[1] / np.maximum(errors[0], 1e-9), ends)
    return {
        "difference": float(whole[0] - whole[1]),
        "low": float(low),
        "high": float(high),
        "error_cut": float(1 - whole[1] / max(whole[0], 1e-9)),
        "error_cut_low": float(cut_low),
        "error_cut_high": float(cut_high),
    }


def _errors(hits: Hits, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 - 2 * (weights @ hits.hits) / np.maximum(weights @ (hits.truth + hits.boxes), 1))


def counted(events: int, trials: int) -> dict[str, float | int]:
    """Return {events, trials, rate, low, high}: the rate and its two-sided 95 % interval (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    low = float(beta.ppf((1 - LEVEL) / 2, events, trials - events + 1)) if events else 0.0
    high = float(beta.ppf((1 + LEVEL) / 2, events + 1, trials - events)) if events < trials else 1.0
    return {"events": events, "trials": trials, "rate": events / max(trials, 1), "low": low, "high": high}
