"""Compare the plausible colour orders and normalisations of a foreign model by its mAP on labelled crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from export.adopting.original import Original
from export.adopting.pixels import COLORS, NORMALISATIONS, Pixels
from export.int8.eval_set import EvalSet
from runtime.console import note
from runtime.errors import GateError
from runtime.ranking.metrics import Scored, cosine_rows, evaluate_distances

RESAMPLES, LEVEL = 10_000, 0.95
# With fewer people, an interval over them says nothing.
FEWEST_PEOPLE = 8


@dataclass(frozen=True)
class Candidate:
    """One way to feed the model: its `pixels` and its `map` (0..1), and `gain`, `low` and `high` in points of mAP.

    `gain` is the mAP minus that of the stated pixels, and `low` to `high` is its paired 95 % interval over people.
    """

    pixels: Pixels
    map: float
    gain: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """Return the manifest entry of this candidate."""
        pixels = {"color": self.pixels.color, "mean": list(self.pixels.mean), "std": list(self.pixels.std)}
        return pixels | {"mAP": self.map, "gain": self.gain, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Comparison:
    """The candidates on `crops` crops of `people` people: the stated pixels first, then the others, the highest mAP first."""

    candidates: tuple[Candidate, ...]
    crops: int
    people: int

    @property
    def better(self) -> Candidate | None:
        """The best candidate whose mAP is above that of the stated pixels by more than the interval, or None."""
        return next((candidate for candidate in self.candidates[1:] if candidate.low > 0), None)

    def rows(self) -> list[list[object]]:
        """Return the rows of a table with the columns of COLUMNS."""
        stated, *others = self.candidates
        rows: list[list[object]] = [[f"{stated.pixels} (stated)", f"{100 * stated.map:.1f}", ""]]
        return rows + [
            [
                str(other.pixels),
                f"{100 * other.map:.1f}",
                f"{other.gain:+.1f} ({other.low:+.1f} to {other.high:+.1f})",
            ]
            for other in others
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the manifest entry {crops, people, candidates}."""
        return {
            "crops": self.crops,
            "people": self.people,
            "candidates": [candidate.to_json() for candidate in self.candidates],
        }


COLUMNS = ("input of the model", "mAP %", "difference (95 % interval)")


def plausible(stated: Pixels, *, colors_only: bool = False) -> list[Pixels]:
    """Return the stated pixels, and every colour order with every normalisation of NORMALISATIONS, without repetition.

    With `colors_only`, the normalisation is the stated one, as for a model that takes uint8 pixels and normalises them itself.
    """
    normalisations = [(stated.mean, stated.std)] if colors_only else NORMALISATIONS.values()
    every = [Pixels(color, mean, std) for color in COLORS for mean, std in normalisations]
    return [stated, *(pixels for pixels in every if not same(pixels, stated))]


def same(first: Pixels, second: Pixels) -> bool:
    """Return whether both describe the same input, up to the rounding of their numbers."""
    ours, theirs = (np.array([*pixels.mean, *pixels.std]) for pixels in (first, second))
    return first.color == second.color and bool(np.allclose(ours, theirs, rtol=1e-6, atol=1e-6))


def labelled(eval_set: EvalSet) -> bool:
    """Return whether the crops have labels of enough people for a comparison."""
    return len(set(eval_set.pids[: eval_set.queries].tolist())) >= FEWEST_PEOPLE


def compare_pixels(original: Original, eval_set: EvalSet) -> Comparison:
    """Run the model on labelled crops once for each plausible input, and return the Comparison with the stated one.

    `original` is the model with the stated pixels. Raises GateError where it gives NaN for the stated pixels.
    """
    people = eval_set.pids[: eval_set.queries]
    stated = query_precisions(original, eval_set)
    precisions = {original.pixels: stated}
    takes_uint8 = original.foreign.type == TensorProto.UINT8
    for pixels in plausible(original.pixels, colors_only=takes_uint8)[1:]:
        try:
            precisions[pixels] = query_precisions(original.with_pixels(pixels), eval_set)
        except GateError:
            note(f"{original.foreign.path}: gives NaN for {pixels}, which is left out of the comparison")
    candidates = [
        Candidate(pixels, float(np.nanmean(values)), *paired_gain(stated, values, people))
        for pixels, values in precisions.items()
    ]
    ordered = sorted(candidates[1:], key=lambda candidate: -candidate.map)
    return Comparison((candidates[0], *ordered), len(eval_set.images), len(set(people.tolist())))


def query_precisions(model: Original, eval_set: EvalSet) -> NDArray[np.float64]:
    """Return the average precision (0..1) of every query, (Q,); NaN for a query without a match."""
    features = model(eval_set.images)
    split = eval_set.queries
    precisions = np.full(split, np.nan)

    def record(scored: Scored) -> None:
        precisions[scored.query] = scored.precision

    evaluate_distances(
        cosine_rows(features[:split], features[split:]),
        eval_set.pids[:split],
        eval_set.camids[:split],
        eval_set.pids[split:],
        eval_set.camids[split:],
        watch=record,
    )
    return precisions


def paired_gain(
    stated: NDArray[np.float64], other: NDArray[np.float64], people: NDArray[np.int64]
) -> tuple[float, float, float]:
    """Return (gain, low, high) in points of mAP: how much `other` is above `stated`, and the 95 % interval.

    Both hold the average precisions (0..1) of the same queries (Q,), NaN for a query without a match; `people` (Q,) are their
    identities. The bootstrap draws whole identities, because the queries of one person succeed or fail together.
    """
    gains = 100 * (other - stated)
    counted = ~np.isnan(gains)
    _, index = np.unique(people[counted], return_inverse=True)
    sums, counts = np.bincount(index, gains[counted]), np.bincount(index)
    draws = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(sums.sum() / counts.sum()), float(low), float(high)
