"""How sure a ratio of times is, and this run against a saved one. Measures nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from benchmarks.foreign_json import COUNT, POSITIVE, TEXT, read_json
from benchmarks.timing import Times
from runtime.errors import ConfigError

DRAWS = 2000
PARTS = 100
# A document without these was not written by bench.py, or by one that kept no rounds.
RUN = {
    "host": {},
    "models": [{"path": TEXT, "sha256": TEXT, "engine": TEXT, "batch": COUNT, "wall_ms": [POSITIVE]}],
}
# What makes two machines, or two uses of one, incomparable.
HOST = ("processor", "usable_cores", "device", "threads", "governor")


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


def read_document(path: Path) -> dict[str, Any]:
    """A document that bench.py --json printed; ConfigError for anything else."""
    try:
        document: dict[str, Any] = read_json(path, RUN)
        if not document["models"] or not all(model["wall_ms"] for model in document["models"]):
            raise ValueError("no rounds")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--compare {path}: not a document of bench.py --json ({error}); make one first"
        ) from None
    return document


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """{models: [{path, engine, batch, ratio, low, high, verdict}], warnings}: every model and batch that both runs have.

    The same model by its hash, or by its path where it was made anew. ConfigError when the runs share none.
    """
    rows = []
    for model in after["models"]:
        if found := _match(model, before["models"]):
            times = [np.array(one["wall_ms"], np.float64) for one in (found, model)]
            sure = interval(*times, paired=False)
            about = {key: model[key] for key in ("path", "engine", "batch")}
            rows.append(
                about
                | asdict(sure)
                | {"verdict": sure.verdict, "same_file": found["sha256"] == model["sha256"]}
            )
    if not rows:
        raise ConfigError(
            "--compare: the two runs share no model at the same batch and engine; compare what both measured"
        )
    different = [key for key in HOST if before["host"].get(key) != after["host"].get(key)]
    warnings = [
        f"not the same machine or use: {key} was {before['host'].get(key)}, is {after['host'].get(key)}"
        for key in different
    ]
    return {"models": rows, "warnings": warnings}


def _match(model: Mapping[str, Any], others: list[dict[str, Any]]) -> dict[str, Any] | None:
    same = [one for one in others if (one["batch"], one["engine"]) == (model["batch"], model["engine"])]
    by_hash = [one for one in same if one["sha256"] == model["sha256"]]
    by_path = [one for one in same if Path(one["path"]).name == Path(model["path"]).name]
    return next(iter(by_hash + by_path), None)
