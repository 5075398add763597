"""Predict the latency of a pruned model from a table that `benchmarks.latency_table` measured on the target."""

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

# schema 1 has no axis of MLP neurons
SCHEMAS = (1, 2)


@dataclass(frozen=True)
class LatencyTable:
    """Measured milliseconds of transformer blocks of many sizes, and of everything outside the prunable blocks (`fixed_ms`).

    `ms` (len(heads), len(tokens)) has the milliseconds of a block with a whole MLP, for each of the measured numbers `heads` and
    `tokens` (class token included). `saved_ms` (len(widths), len(tokens)) has the milliseconds that a block saves if its MLP has as
    many neurons as `widths` says instead of all. The numbers in `heads`, `tokens` and `widths` ascend. The last of `widths` is the
    whole MLP; it is the only one if no narrower MLPs were measured. `sha256` is the hash of the measured model.
    """

    heads: tuple[int, ...]
    tokens: tuple[int, ...]
    ms: NDArray[np.float64]
    widths: tuple[int, ...]
    saved_ms: NDArray[np.float64]
    fixed_ms: float
    sha256: str

    def block_ms(self, heads: float, tokens: float, hidden: float | None = None) -> float:
        """Return the predicted milliseconds of a block with these numbers of heads, tokens (with class token) and neurons (None: all).

        The prediction is linear between the measured points and continues the outermost slope beyond them.
        """
        whole_mlp_ms = _bilinear(self.heads, self.tokens, self.ms, heads, tokens)
        if hidden is None:
            return whole_mlp_ms
        return whole_mlp_ms - _bilinear(self.widths, self.tokens, self.saved_ms, hidden, tokens)

    def model_ms(
        self, heads: Sequence[int], tokens: Sequence[int], hidden: Sequence[int | None] | None = None
    ) -> float:
        """Return the predicted milliseconds of a model whose prunable blocks have these numbers of heads, tokens and MLP neurons.

        The numbers are as in `block_ms`; a `hidden` of None means that all MLPs are whole.
        """
        widths = [None] * len(heads) if hidden is None else hidden
        counts = zip(heads, tokens, widths, strict=True)
        return self.fixed_ms + sum(self.block_ms(*block) for block in counts)

    def architecture_ms(self, architecture: Architecture) -> float | None:
        """Return the predicted milliseconds of a model with this architecture; removed blocks cost nothing.

        The result is None if the architecture has pruned MLPs, but the table was measured with whole MLPs only.
        """
        blocks = [block for block in architecture.blocks[: architecture.prunable] if not block.removed]
        if len(self.widths) == 1 and any(block.hidden is not None for block in blocks):
            return None
        heads, tokens = [len(block.heads) for block in blocks], [len(block.tokens) for block in blocks]
        return self.model_ms(heads, tokens, [block.hidden for block in blocks])


def _bilinear(
    rows: Sequence[int], columns: Sequence[int], values: NDArray[np.float64], row: float, column: float
) -> float:
    return _line(columns, [_line(rows, measured, row) for measured in values.T], column)


def _line(points: Sequence[int], values: Sequence[float] | NDArray[np.float64], at: float) -> float:
    """Interpolate linearly between (points, values), whose points ascend, and extrapolate with the first or last slope."""
    if len(points) == 1:
        return float(values[0])
    right = min(max(int(np.searchsorted(points, at)), 1), len(points) - 1)
    share = (at - points[right - 1]) / (points[right] - points[right - 1])
    return float(values[right - 1] + share * (values[right] - values[right - 1]))


def read_table(path: Path | str, architecture: Architecture) -> LatencyTable:
    """Return the latency table in the JSON file at `path`.

    Raises ConfigError when the file is unreadable or unfinished, or when the measured model has another architecture than
    `architecture`, apart from pruning.
    """
    try:
        document: dict[str, Any] = parse_json(Path(path).read_text())
        cells = {
            (int(row["heads"]), int(row["tokens"]), int(row.get("hidden", architecture.vit.hidden))): float(
                row["ms"]
            )
            for row in document["grid"]
        }
        schema, complete = document["schema"], document["complete"]
        shape, sha256 = document["model"]["shape"], document["model"]["sha256"]
        fixed = float(document["fixed_ms"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"--latency-table {path}: is not a finished table of python -m benchmarks.latency_table "
            f"({type(error).__name__}: {error}); give its result file, or run it to its end"
        ) from None
    if schema not in SCHEMAS or complete is not True:
        raise ConfigError(
            f"--latency-table {path}: the measurement is unfinished, or another version of this project made the table "
            f"(complete {complete}, schema {schema}; this version reads schemas {SCHEMAS}); "
            "run python -m benchmarks.latency_table to its end"
        )
    measured = Architecture.from_json(shape, str(path))
    for name in ("variant", "family", "depth", "pooling", "height", "width", "stride", "jpm", "mode"):
        ours, theirs = getattr(architecture, name), getattr(measured, name)
        if ours != theirs:
            raise ConfigError(
                f"--latency-table {path}: was measured with {name} {theirs}, but this model has {ours}; measure a table of this model"
            )
    heads, tokens, widths = (tuple(sorted({key[axis] for key in cells})) for axis in range(3))
    most, whole = max(heads, default=0), architecture.vit.hidden
    # every pair of heads and tokens with whole MLPs, and every pair of tokens and narrower MLPs with all heads
    expected = {(h, t, whole) for h in heads for t in tokens} | {(most, t, m) for t in tokens for m in widths}
    if (
        not cells
        or set(cells) != expected
        or not all(math.isfinite(value) and value > 0 for value in cells.values())
    ):
        raise ConfigError(
            f"--latency-table {path}: lacks the times of some sizes, or has times that are not positive; "
            "measure the table again, with another --out"
        )
    ms = np.array([[cells[h, t, whole] for t in tokens] for h in heads])
    saved = np.array([[cells[most, t, whole] - cells[most, t, m] for t in tokens] for m in widths])
    return LatencyTable(heads, tokens, ms, widths, saved, fixed, sha256)
