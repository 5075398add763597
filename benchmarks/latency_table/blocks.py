"""Measure a latency table: the time of a transformer block for each number of heads, tokens and MLP neurons.

The blocks are timed in groups, in turns with the whole model. The table is saved after each group.
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
    """Return the index of the blocks that were exported with the model: MODEL.onnx.blocks/index.json.

    Raises ArtifactError if the blocks are missing or belong to another model.
    """
    folder = Path(f"{model}.blocks")
    manifest = read_manifest(model)
    try:
        index: dict[str, Any] = parse_json((folder / "index.json").read_text())
        belongs = index["model"]["sha256"]
        # Read every key that is needed later, so that an incomplete index fails here.
        _ = [(size_of(point), point["file"]) for point in index["grid"]], [index[key] for key in ABOUT]
        if not index["grid"]:
            raise ValueError("no blocks")
    except (OSError, ValueError, KeyError, TypeError):
        words = ["python", "export_onnx.py", "MODEL.safetensors", "--out", str(model), "--blocks"]
        raise ArtifactError(
            f"{folder}: has no exported blocks; export them with {shlex.join(words)}"
        ) from None
    if belongs != manifest["sha256"]:
        raise ArtifactError(
            f"{folder}: its blocks come from another export of {model}; export the model again with --blocks"
        )
    return index


def groups(grid: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the block sizes of `grid` in groups that have the same number of heads and of MLP neurons.

    The blocks of a group are timed in turns, and their times are saved before the next group begins.
    """
    keys = dict.fromkeys((point["heads"], point["hidden"]) for point in grid)
    return [[point for point in grid if (point["heads"], point["hidden"]) == key] for key in keys]


def cpu_sample(model: Path, index: dict[str, Any], about: dict[str, Any], rounds: int) -> Sample:
    """Return a function that times the whole model, the unpruned block and a group of block sizes in turns on the CPU.

    `index` is the index of the model's blocks. `about` gives the backend, the number of threads and the batch size, and each call
    runs `rounds` times.
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

    `about` has the facts about the measurement that the table records. The table is written to `out` after each group. If `out` holds
    an unfinished table with the same facts, only its missing groups are measured. The speed of a machine changes within minutes, so
    the times of a group are corrected: they are multiplied by the median time of the whole model over all groups, and divided by the
    time of the whole model in this group.
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
    """Return (heads, tokens, neurons) of `row`, which is an entry of the index or a measured row of the table."""
    return tuple(row[key] for key in SIZES)


def finished(raw: Sequence[dict[str, Any]], prunable: int) -> dict[str, Any]:
    """Return the results of the measured rows `raw`: {model_ms, fixed_ms, grid, complete}.

    `model_ms` is the median time of the whole model, and `grid` has the corrected time of each block size (see `measure`). `fixed_ms`
    is the time that the model spends outside its prunable blocks: `model_ms` minus `prunable` times the time of the unpruned block.
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
            note(f"{path}: the measurement continues after {len(table['raw'])} blocks")
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
