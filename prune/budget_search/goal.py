"""What a budget search is asked: its goal, and what it chooses of. Imports neither torch nor numpy, so that parsers are fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import ConfigError
from runtime.files.manifest import sha256

GOALS = ("latency_ms", "macs", "map")
# what may be searched over; heads and tokens are AMG's
AXES = ("heads", "tokens", "neurons")


@dataclass(frozen=True)
class Goal:
    """`kind` latency_ms, macs (at most `value`) or map (0..1, at least `value` on the held-out people, before fine-tuning)."""

    kind: str
    value: float


@dataclass(frozen=True)
class Search:
    """The goal, and `over` which of `AXES`; `table` is a file of `benchmarks.latency_table` (None: blocks cost multiply-adds)."""

    goal: Goal
    table: Path | None = None
    over: tuple[str, ...] = AXES

    def asked(self) -> dict[str, Any]:
        """Plain data that tells this search from another."""
        table = None if self.table is None else sha256(self.table)
        return {"goal": self.goal.kind, "value": self.goal.value, "table": table, "over": list(self.over)}


def read_goal(text: str) -> Goal:
    """`latency_ms=3.2`, `macs=1.2e8` or `map=0.85`; ConfigError for anything else."""
    kind, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if kind not in GOALS or not 0 < value < float("inf") or (kind == "map" and value > 1):
        raise ConfigError(f"--goal {text}: give latency_ms=MS, macs=COUNT or map=0..1")
    return Goal(kind, value)
