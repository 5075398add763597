"""Measure a latency table: the time of a transformer block for each number of heads, tokens and MLP neurons.

Blocks with the same numbers of heads and of neurons form a group. The blocks of a group are timed alternately with the whole model,
and the table is saved after each group.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency_table.calls import Call, graph_call, model_call
from runtime.console import note
from runtime.errors import ArtifactError
from runtime.files.json_text import parse_json
from runtime.files.manifest import read_manifest, replacing
from runtime.host import stopwatch

SCHEMA = 2
# The sizes that differ between blocks.
SIZES = ("heads", "tokens", "hidden")
# Keys that a table copies from the index of the blocks.
ABOUT = ("variant", "heads", "tokens", "width", "prunable")
# A stopped measurement continues only if these values of its table are unchanged.
SAME = ("schema", "model", "device", "engine", "tensorrt", "batch", "threads", "processor", "gpu", "board")
# A function that times the block sizes of a group. It returns the median milliseconds of the whole model, of the unpruned block, and
# of each block size.
Sample = Callable[[Sequence[dict[str, Any]]], list[float]]


def read_index(model: Path) -> dict[str, Any]:
    """Return the index of the blocks that were exported with the ONNX file `model`: MODEL.onnx.blocks/index.json.

    Its `grid` has one entry for each block size: {heads, tokens, hidden, file}, where `hidden` is the number of MLP neurons. The first
    entry is the unpruned block. Raises ArtifactError if the index is missing or damaged, or if the blocks belong to another model.
    """
    folder = Path(f"{model}.blocks")
    manifest = read_manifest(model)
    try:
        index: dict[str, Any] = parse_json((folder / "index.json").read_text())
        belongs = index["model"]["sha256"]
        # Read every key that is needed later, so that an incomplete index fails here.
        _ = [(size_of(point), point["file"]) for point in index["grid"]], [index[key] for key in ABOUT]
        if not index["grid"]:
            raise ValueError("the index lists no blocks")
    except (OSError, ValueError, KeyError, TypeError):
        words = ["python", "export_onnx.py", "MODEL.safetensors", "--out", str(model), "--blocks"]
        raise ArtifactError(
            f"{folder}: the folder has no complete index of exported blocks; export them with {shlex.join(words)}"
        ) from None
    if belongs != manifest["sha256"]:
        raise ArtifactError(
            f"{folder}: its blocks come from another export of {model}; export the model again with --blocks"
        )
    return index


def groups(grid: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the entries of `grid` in groups that have the same number of heads and of MLP neurons.

    `grid` is a list of block sizes from the index (see `read_index`) or from a finished table.
    """
    keys = dict.fromkeys((point["heads"], point["hidden"]) for point in grid)
    return [[point for point in grid if (point["heads"], point["hidden"]) == key] for key in keys]


def cpu_sample(model: Path, index: dict[str, Any], about: dict[str, Any], rounds: int) -> Sample:
    """Return a function that times the whole model and some of its blocks on the CPU.

    The argument of the function is one of the groups of index entries that `groups` returns. Its result is one list of median times
    in ms, each over `rounds` calls: the time of the whole model, that of the unpruned block, and that of each block in the group. The
    calls alternate, so that a change of the machine's speed affects all of them. `index` comes from `read_index(model)`, and `about`
    has {engine, threads, batch}.
    """
    folder = Path(f"{model}.blocks")
    engine, threads, batch = about["engine"], about["threads"], about["batch"]
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, index["tokens"], index["width"]), dtype=np.float32)

    def call(point: dict[str, Any]) -> Call:
        return graph_call(folder / point["file"], engine, threads, x)

    whole, anchor = model_call(model, engine, threads, batch), call(index["grid"][0])

    def sample(group: Sequence[dict[str, Any]]) -> list[float]:
        samples = stopwatch.interleave([whole, anchor, *map(call, group)], rounds=rounds)
        return [float(np.median(times.wall_ms)) for times in samples]

    return sample


def measure(index: dict[str, Any], about: dict[str, Any], out: Path, sample: Sample) -> dict[str, Any]:
    """Measure all block sizes of `index` with `sample`, and return the finished table.

    `index` comes from `read_index`, and `sample` is a function as `cpu_sample` returns it. `about` has the settings of the
    measurement. The table is a dictionary with these settings, the measured rows in `raw`, and the keys that `finished` returns. The
    table is written to `out` after each group. If `out` holds an unfinished table with the same settings, only its missing groups are
    measured.

    The speed of a machine changes within minutes. The times of a group are therefore multiplied by the median time of the whole model
    over all groups, and divided by the time of the whole model in this group.
    """
    table = _begun(out, about)
    done = {size_of(row) for row in table["raw"]}
    for group in groups(index["grid"]):
        if all(size_of(point) in done for point in group):
            continue
        note(f"measuring blocks of {group[0]['heads']} heads and {group[0]['hidden']} neurons")
        ms = sample(group)
        for point, value in zip(group, ms[2:]):
            row = {key: point[key] for key in SIZES} | {"ms": value}
            table["raw"].append(row | {"model_ms": ms[0], "block_ms": ms[1]})
        _keep(out, table)
    table |= finished(table["raw"], index["prunable"])
    _keep(out, table)
    return table


def size_of(row: dict[str, Any]) -> tuple[int, ...]:
    """Return the numbers (heads, tokens, MLP neurons) of the block in `row`, an entry of the index or a measured row of the table."""
    return tuple(row[key] for key in SIZES)


def finished(raw: Sequence[dict[str, Any]], prunable: int) -> dict[str, Any]:
    """Return the results that a finished table adds to its measured rows `raw`: {model_ms, fixed_ms, grid, complete}.

    Each row is {heads, tokens, hidden, ms, model_ms, block_ms}: a block size, its time, and the times of the whole model and of the
    unpruned block that were measured in the same group. The `model_ms` of the result is the median of the rows' `model_ms`. `grid` has
    the corrected time of each block size (see `measure`). `fixed_ms` is the time that the model spends outside its prunable blocks,
    whose number is `prunable`: the `model_ms` of the result, minus `prunable` times the corrected time of the unpruned block.
    `complete` is True, which marks the table as finished. All times are in ms.
    """
    model = float(np.median([row["model_ms"] for row in raw]))
    block = float(np.median([row["block_ms"] * model / row["model_ms"] for row in raw]))
    rows = [{key: row[key] for key in SIZES} | {"ms": row["ms"] * model / row["model_ms"]} for row in raw]
    return {"model_ms": model, "fixed_ms": model - prunable * block, "grid": rows, "complete": True}


def _begun(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Return the unfinished table at `path` if it has the same facts as `about`, or else an empty table.

    A line on stderr says that the measurement continues, or that the file at `path` will be replaced.
    """
    try:
        table: dict[str, Any] = parse_json(path.read_text())
        # A table of an older version has no keys for GPUs.
        _ = [(size_of(row), row["ms"], row["model_ms"], row["block_ms"]) for row in table["raw"]]
        if not table["complete"] and all(table.get(key) == about[key] for key in SAME):
            note(
                f"{path}: this table is unfinished; the measurement continues after {len(table['raw'])} blocks"
            )
            return table
        reason = "a finished table" if table["complete"] else "an unfinished table with other settings"
    except FileNotFoundError:
        reason = ""
    except (OSError, ValueError, KeyError, TypeError):
        reason = "not a latency table"
    if reason:
        note(f"{path}: this file is {reason}; the measurement starts from the beginning and replaces it")
    return about | {"complete": False, "raw": []}


def _keep(path: Path, table: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(table, indent=1) + "\n")
