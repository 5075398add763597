"""The goal of a budget search, and what the search may prune. Imports neither torch nor numpy, so that command lines parse fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import ConfigError
from runtime.files.manifest import sha256

GOALS = ("latency_ms", "macs", "map")
# what the search may remove; AMG prunes heads and tokens
AXES = ("heads", "tokens", "neurons")


@dataclass(frozen=True)
class Goal:
    """What the chosen model must reach.

    `kind` is latency_ms or macs, which may be at most `value`, or map, the mAP (0..1), which must be at least `value` on the
    held-out people before fine-tuning.
    """

    kind: str
    value: float


@dataclass(frozen=True)
class SearchOptions:
    """The goal of a budget search, and in `over` which of `AXES` it may prune.

    `table` is the JSON file of a latency table that `benchmarks.latency_table` measured. None: the cost of a block is its number of
    multiply-adds.
    """

    goal: Goal
    table: Path | None = None
    over: tuple[str, ...] = AXES

    def to_json(self) -> dict[str, Any]:
        """Return plain data that tells whether two searches have the same options; the table is represented by its hash."""
        table = None if self.table is None else sha256(self.table)
        return {"goal": self.goal.kind, "value": self.goal.value, "table": table, "over": list(self.over)}


def parse_goal(text: str) -> Goal:
    """Return the goal in a text such as `latency_ms=3.2`, `macs=1.2e8` or `map=0.85`; raise ConfigError for any other text."""
    kind, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if kind not in GOALS or not 0 < value < float("inf") or (kind == "map" and value > 1):
        raise ConfigError(f"--goal {text}: give latency_ms=MS, macs=COUNT or map=0..1")
    return Goal(kind, value)
