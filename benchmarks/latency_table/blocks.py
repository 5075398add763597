"""The measuring of a latency table: blocks in groups, each beside the whole model, kept group by group. Knows no command line."""

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
# what tells one block from another
SIZES = ("heads", "tokens", "hidden")
# what a table repeats of the blocks' index
ABOUT = ("variant", "heads", "tokens", "width", "prunable")
# What must agree before a stopped measurement goes on.
SAME = ("schema", "model", "device", "engine", "tensorrt", "batch", "threads", "processor", "gpu", "board")
# a group's points -> milliseconds of the whole model, of the unpruned block, and of each of them
Sample = Callable[[Sequence[dict[str, Any]]], list[float]]


def read_index(model: Path) -> dict[str, Any]:
    """The index of the blocks beside MODEL.onnx; ArtifactError when they are missing or another model's."""
    folder = Path(f"{model}.blocks")
    manifest = read_manifest(model)
    try:
        index: dict[str, Any] = parse_json((folder / "index.json").read_text())
        belongs = index["model"]["sha256"]
        # what is read of it later: half an index is none
        _ = [(size_of(point), point["file"]) for point in index["grid"]], [index[key] for key in ABOUT]
        if not index["grid"]:
            raise ValueError("no blocks")
    except (OSError, ValueError, KeyError, TypeError):
        words = ["python", "export_onnx.py", "MODEL.safetensors", "--out", str(model), "--blocks"]
        raise ArtifactError(f"{folder}: no blocks there; write them: {shlex.join(words)}") from None
    if belongs != manifest["sha256"]:
        raise ArtifactError(f"{folder}: belongs to another export of {model}; export it again with --blocks")
    return index


def groups(grid: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The grid's points of as many heads and neurons: what is measured interleaved, and kept before the next group begins."""
    keys = dict.fromkeys((point["heads"], point["hidden"]) for point in grid)
    return [[point for point in grid if (point["heads"], point["hidden"]) == key] for key in keys]


def cpu_sample(model: Path, index: dict[str, Any], about: dict[str, Any], rounds: int) -> Sample:
    """Times a group on the CPU, interleaved round by round."""
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
    """The finished table; every group is timed beside the whole unpruned model and the unpruned block.

    A machine slows down and recovers within minutes: a group's times are those of its rounds, scaled by what the whole
    model took then against what it took over all groups.
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
    """(heads, tokens, neurons) of a point or a measured row."""
    return tuple(row[key] for key in SIZES)


def finished(raw: Sequence[dict[str, Any]], prunable: int) -> dict[str, Any]:
    """{model_ms, fixed_ms, grid}: `fixed_ms` is the whole model less its prunable blocks, which are all alike."""
    model = float(np.median([row["model_ms"] for row in raw]))
    block = float(np.median([row["block_ms"] * model / row["model_ms"] for row in raw]))
    rows = [{key: row[key] for key in SIZES} | {"ms": row["ms"] * model / row["model_ms"]} for row in raw]
    return {"model_ms": model, "fixed_ms": model - prunable * block, "grid": rows, "complete": True}


def _begun(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """What an earlier run measured of the same thing, else an empty table."""
    try:
        found: dict[str, Any] = parse_json(path.read_text())
        # a table begun before graphics cards were in it has no key for them
        _ = [(size_of(row), row["ms"], row["model_ms"], row["block_ms"]) for row in found["raw"]]
        if not found["complete"] and all(found.get(key) == about[key] for key in SAME):
            note(f"{path}: going on after {len(found['raw'])} blocks")
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return about | {"complete": False, "raw": []}


def _keep(path: Path, table: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(table, indent=1) + "\n")
