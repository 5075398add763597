"""What a pruned model will take, from a table that `benchmarks.table` measured on the target. Measures nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.shape import Shape
from runtime.errors import ConfigError

SCHEMA = 1


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of one block (len(heads), len(tokens)), both axes ascending, and of everything that is not pruned."""

    heads: tuple[int, ...]
    tokens: tuple[int, ...]
    ms: NDArray[np.float64]
    fixed_ms: float
    sha256: str

    def block_ms(self, heads: float, tokens: float) -> float:
        """A block of so many heads and kept tokens (class token included): bilinear, the border's slope beyond it."""
        return float(_line(self.tokens, [_line(self.heads, column, heads) for column in self.ms.T], tokens))

    def model_ms(self, heads: Sequence[int], tokens: Sequence[int]) -> float:
        """A whole model with these counts in its prunable blocks."""
        return self.fixed_ms + sum(self.block_ms(*counts) for counts in zip(heads, tokens, strict=True))

    def shape_ms(self, shape: Shape) -> float | None:
        """A model of this shape, a removed block costing nothing; None where an MLP is narrower: that was not measured."""
        blocks = [block for block in shape.blocks[: shape.prunable] if not block.removed]
        if any(block.hidden is not None for block in blocks):
            return None
        return self.model_ms([len(block.heads) for block in blocks], [len(block.tokens) for block in blocks])


def _line(points: Sequence[int], values: Sequence[float] | NDArray[np.float64], at: float) -> float:
    """Piecewise linear through (points, values), ascending, with the first and last piece's slope beyond them."""
    if len(points) == 1:
        return float(values[0])
    right = min(max(int(np.searchsorted(points, at)), 1), len(points) - 1)
    share = (at - points[right - 1]) / (points[right] - points[right - 1])
    return float(values[right - 1] + share * (values[right] - values[right - 1]))


def read_table(path: Path | str, shape: Shape) -> LatencyTable:
    """The table at `path` for models of this shape; ConfigError when it is unreadable, unfinished or another model's."""
    try:
        found: dict[str, Any] = json.loads(Path(path).read_text())
        cells = {(int(row["heads"]), int(row["tokens"])): float(row["ms"]) for row in found["grid"]}
        about = (found["schema"], found["complete"], found["model"]["shape"], found["model"]["sha256"])
        fixed = float(found["fixed_ms"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--latency-table {path}: not a finished table of python -m benchmarks.table ({type(error).__name__}: {error})"
        ) from None
    if about[:2] != (SCHEMA, True):
        raise ConfigError(f"--latency-table {path}: schema {about[0]}, finished {about[1]}; measure it again")
    measured = Shape.from_json(about[2], str(path))
    for name in ("variant", "height", "width", "stride", "jpm", "mode"):
        ours, theirs = getattr(shape, name), getattr(measured, name)
        if ours != theirs:
            raise ConfigError(f"--latency-table {path}: measured with {name} {theirs}, this model has {ours}")
    heads, tokens = (tuple(sorted({key[axis] for key in cells})) for axis in (0, 1))
    if len(cells) != len(heads) * len(tokens) or not all(
        math.isfinite(value) and value > 0 for value in cells.values()
    ):
        raise ConfigError(f"--latency-table {path}: holes, or times that are none; measure it again")
    ms = np.array([[cells[h, t] for t in tokens] for h in heads])
    return LatencyTable(heads, tokens, ms, fixed, about[3])
