"""The options of `prune.py --search`: the goal, and what may be pruned. Imports no torch and no numpy, so that parsing is fast."""

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
    """What the pruned model of a budget search must reach.

    With the `kind` "latency_ms" or "macs", `value` is the largest allowed number of milliseconds or multiply-adds per image. With
    "map", `value` is the least allowed mAP (0..1) before fine-tuning. It is measured on training people whose images are not used
    to compute the pruning scores.
    """

    kind: str
    value: float


@dataclass(frozen=True)
class SearchOptions:
    """The options of a budget search: its goal, how it computes costs, and what it may prune.

    `table` is the JSON file of a latency table that `benchmarks.latency_table` measured; without one (None), the cost of a block is
    its number of multiply-adds. `over` names those of `AXES` that the search may prune.
    """

    goal: Goal
    table: Path | None = None
    over: tuple[str, ...] = AXES

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain data, {goal, value, table, over}, so that equal options give equal data.

        `table` is the sha256 of the JSON file of the latency table (None: no table).
        """
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
