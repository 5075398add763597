"""What a pruned model will take, from a table that `benchmarks.latency_table` measured on the target. Measures nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.model.architecture import Architecture
from runtime.errors import ConfigError
from runtime.files.json_text import parse_json

# 1: heads and tokens alone
SCHEMAS = (1, 2)


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of one block (len(heads), len(tokens)) with a whole MLP, and of everything that is not pruned.

    `saved_ms` (len(widths), len(tokens)) is what a block of so many MLP neurons takes less; all axes ascend, and the last of
    `widths` is the whole MLP: the only one where no others were measured.
    """

    heads: tuple[int, ...]
    tokens: tuple[int, ...]
    ms: NDArray[np.float64]
    widths: tuple[int, ...]
    saved_ms: NDArray[np.float64]
    fixed_ms: float
    sha256: str

    def block_ms(self, heads: float, tokens: float, hidden: float | None = None) -> float:
        """A block of so many heads, kept tokens (class token included) and MLP neurons (None: all), the border's slope beyond it."""
        whole = _bilinear(self.heads, self.tokens, self.ms, heads, tokens)
        if hidden is None:
            return whole
        return whole - _bilinear(self.widths, self.tokens, self.saved_ms, hidden, tokens)

    def model_ms(
        self, heads: Sequence[int], tokens: Sequence[int], hidden: Sequence[int | None] | None = None
    ) -> float:
        """A whole model with these counts in its prunable blocks; `hidden` None: whole MLPs."""
        widths = [None] * len(heads) if hidden is None else hidden
        counts = zip(heads, tokens, widths, strict=True)
        return self.fixed_ms + sum(self.block_ms(*one) for one in counts)

    def architecture_ms(self, architecture: Architecture) -> float | None:
        """A model of this shape, a removed block costing nothing; None where an MLP is narrower and none such was measured."""
        blocks = [block for block in architecture.blocks[: architecture.prunable] if not block.removed]
        if len(self.widths) == 1 and any(block.hidden is not None for block in blocks):
            return None
        heads, tokens = [len(block.heads) for block in blocks], [len(block.tokens) for block in blocks]
        return self.model_ms(heads, tokens, [block.hidden for block in blocks])


def _bilinear(
    rows: Sequence[int], columns: Sequence[int], values: NDArray[np.float64], row: float, column: float
) -> float:
    return _line(columns, [_line(rows, along, row) for along in values.T], column)


def _line(points: Sequence[int], values: Sequence[float] | NDArray[np.float64], at: float) -> float:
    """Piecewise linear through (points, values), ascending, with the first and last piece's slope beyond them."""
    if len(points) == 1:
        return float(values[0])
    right = min(max(int(np.searchsorted(points, at)), 1), len(points) - 1)
    share = (at - points[right - 1]) / (points[right] - points[right - 1])
    return float(values[right - 1] + share * (values[right] - values[right - 1]))


def read_table(path: Path | str, architecture: Architecture) -> LatencyTable:
    """The table at `path` for models of this shape; ConfigError when it is unreadable, unfinished or another model's."""
    try:
        found: dict[str, Any] = parse_json(Path(path).read_text())
        cells = {
            (int(row["heads"]), int(row["tokens"]), int(row.get("hidden", architecture.vit.hidden))): float(
                row["ms"]
            )
            for row in found["grid"]
        }
        about = (found["schema"], found["complete"], found["model"]["shape"], found["model"]["sha256"])
        fixed = float(found["fixed_ms"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"--latency-table {path}: not a finished table of python -m benchmarks.latency_table ({type(error).__name__}: {error})"
        ) from None
    if about[0] not in SCHEMAS or about[1] is not True:
        raise ConfigError(
            f"--latency-table {path}: schema {about[0]}, finished {about[1]}; run python -m benchmarks.latency_table to its end"
        )
    measured = Architecture.from_json(about[2], str(path))
    for name in ("variant", "height", "width", "stride", "jpm", "mode"):
        ours, theirs = getattr(architecture, name), getattr(measured, name)
        if ours != theirs:
            raise ConfigError(
                f"--latency-table {path}: measured with {name} {theirs}, this model has {ours}; measure a table of this model"
            )
    heads, tokens, widths = (tuple(sorted({key[axis] for key in cells})) for axis in range(3))
    most, whole = max(heads, default=0), architecture.vit.hidden
    # every pair of heads and tokens with whole MLPs, and narrower ones with all heads
    wanted = {(h, t, whole) for h in heads for t in tokens} | {(most, t, m) for t in tokens for m in widths}
    if (
        not cells
        or set(cells) != wanted
        or not all(math.isfinite(value) and value > 0 for value in cells.values())
    ):
        raise ConfigError(
            f"--latency-table {path}: holes, or times that are none; measure it again to another --out"
        )
    ms = np.array([[cells[h, t, whole] for t in tokens] for h in heads])
    saved = np.array([[cells[most, t, whole] - cells[most, t, m] for t in tokens] for m in widths])
    return LatencyTable(heads, tokens, ms, widths, saved, fixed, about[3])
