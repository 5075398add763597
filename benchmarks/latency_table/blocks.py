"""Measure a latency table: groups of blocks, each in turns with the whole model, saved group by group. Imports no command line."""

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
# the sizes that differ between blocks
SIZES = ("heads", "tokens", "hidden")
# keys that a table copies from the index of the blocks
ABOUT = ("variant", "heads", "tokens", "width", "prunable")
# The facts that must be equal for a stopped measurement to continue.
SAME = ("schema", "model", "device", "engine", "tensorrt", "batch", "threads", "processor", "gpu", "board")
# the block sizes of a group -> milliseconds of the whole model, of the unpruned block, and of each block size
Sample = Callable[[Sequence[dict[str, Any]]], list[float]]


def read_index(model: Path) -> dict[str, Any]:
    """Return the index of the blocks beside MODEL.onnx; ArtifactError if they are missing or belong to another model."""
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
        raise ArtifactError(f"{folder}: has no blocks; write them: {shlex.join(words)}") from None
    if belongs != manifest["sha256"]:
        raise ArtifactError(f"{folder}: belongs to another export of {model}; export it again with --blocks")
    return index


def groups(grid: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the block sizes in groups with equal heads and neurons. A group is measured in turns and saved before the next one."""
    keys = dict.fromkeys((point["heads"], point["hidden"]) for point in grid)
    return [[point for point in grid if (point["heads"], point["hidden"]) == key] for key in keys]


def cpu_sample(model: Path, index: dict[str, Any], about: dict[str, Any], rounds: int) -> Sample:
    """Return a function that times the whole model, the unpruned block and a group of block sizes on the CPU.

    It alternates between them.
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
        return [float(np.median(one.wall_ms)) for one in samples]

    return sample


def measure(index: dict[str, Any], about: dict[str, Any], out: Path, sample: Sample) -> dict[str, Any]:
    """Return the finished table. Every group is timed in turns with the whole unpruned model and the unpruned block.

    Because a machine slows down and recovers within minutes, the times of a group are scaled: they are multiplied by the median time
    of the whole model over all groups and divided by its time in this group.
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
    """Return (heads, tokens, neurons) of a block size or a measured row."""
    return tuple(row[key] for key in SIZES)


def finished(raw: Sequence[dict[str, Any]], prunable: int) -> dict[str, Any]:
    """Return {model_ms, fixed_ms, grid}. `fixed_ms` is the time of the whole model minus that of its equal prunable blocks."""
    model = float(np.median([row["model_ms"] for row in raw]))
    block = float(np.median([row["block_ms"] * model / row["model_ms"] for row in raw]))
    rows = [{key: row[key] for key in SIZES} | {"ms": row["ms"] * model / row["model_ms"]} for row in raw]
    return {"model_ms": model, "fixed_ms": model - prunable * block, "grid": rows, "complete": True}


def _begun(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Return the table that an earlier run of the same measurement began, else an empty table.

    A line on stderr says that the measurement continues, or that another file at `path` will be replaced.
    """
    try:
        table: dict[str, Any] = parse_json(path.read_text())
        # A table of an older version has no keys for GPUs.
        _ = [(size_of(row), row["ms"], row["model_ms"], row["block_ms"]) for row in table["raw"]]
        if not table["complete"] and all(table.get(key) == about[key] for key in SAME):
            note(f"{path}: continuing after {len(table['raw'])} blocks")
            return table
        reason = "a finished table" if table["complete"] else "a table with other settings"
    except FileNotFoundError:
        reason = ""
    except (OSError, ValueError, KeyError, TypeError):
        reason = "not a table of this command"
    if reason:
        note(f"{path}: is {reason}; the measurement begins anew and replaces it")
    return about | {"complete": False, "raw": []}


def _keep(path: Path, table: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(table, indent=1) + "\n")
