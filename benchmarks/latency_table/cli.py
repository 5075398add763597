"""`python -m benchmarks.latency_table MODEL.onnx --out table.json`: what a block of this model costs on this machine.

By heads, tokens and MLP neurons. Measures the blocks that `export_onnx.py --blocks` wrote beside MODEL.onnx, with the
engine that will run the model, for `prune.py --search`. A stopped measurement goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.device import board
from benchmarks.device.jetson import refuse_elsewhere
from benchmarks.host import describe_host, doubts
from benchmarks.latency_table.calls import Call, graph_call, model_call
from benchmarks.latency_table.trtexec import Sampler, Target, engine_path, open_target
from engines.doctor.doctor import nvpmodel_output
from runtime.console import note, print_table
from runtime.errors import ArtifactError, ConfigError
from runtime.files.json_text import parse_json
from runtime.files.manifest import read_manifest, replacing
from runtime.options.argument_types import positive_integer
from runtime.options.choices import BACKENDS
from runtime.stopping import keeping

SCHEMA = 2
DEVICES = ("cpu", "cuda", "jetson")
# runs of each block on a CPU
ROUNDS = 40
# what tells one block from another
SIZES = ("heads", "tokens", "hidden")
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
        samples = timing.interleave([whole, anchor, *map(call, group)], rounds=rounds)
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


def gpu_target(args: argparse.Namespace) -> Target:
    """trtexec on this machine; DeviceError where --device jetson is asked of another one."""
    if args.device == "jetson":
        refuse_elsewhere(Path("/"), os.environ)
    return open_target(args.out, args.batch)


def jetson_board() -> dict[str, Any]:
    """Module, JetPack and power mode of this Jetson: in another power mode the same block takes another time."""
    return board.describe(Path("/"), os.environ, nvpmodel_output())


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
        if not found["complete"] and all(found.get(key) == about[key] for key in SAME):
            note(f"{path}: going on after {len(found['raw'])} blocks")
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return about | {"complete": False, "raw": []}


def _keep(path: Path, table: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(table, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the blocks beside MODEL.onnx on this machine and write the latency table that prune.py --search reads."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency_table", description=main.__doc__)
    parser.add_argument(
        "model", type=Path, metavar="MODEL.onnx", help="an unpruned model, exported with --blocks"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="TABLE.json")
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="cuda and jetson: TensorRT, by trtexec"
    )
    parser.add_argument(
        "--backend", "--engine", dest="backend", choices=BACKENDS, help=f"on the CPU ({BACKENDS[0]})"
    )
    parser.add_argument("--threads", type=positive_integer, metavar="N", help="on the CPU (all cores)")
    parser.add_argument("--batch", type=positive_integer, default=1, metavar="N")
    parser.add_argument(
        "--rounds", type=positive_integer, metavar="N", help=f"on the CPU: runs of each block ({ROUNDS})"
    )
    args = parser.parse_args(argv)
    if args.out.resolve() == args.model.resolve():
        raise ConfigError(f"--out {args.out}: that is the model; give a .json file")
    for option in ("backend", "threads", "rounds"):
        if args.device != "cpu" and getattr(args, option) is not None:
            raise ConfigError(f"--{option}: belongs to --device cpu; trtexec measures on a GPU")
    index = read_index(args.model)
    target = None if args.device == "cpu" else gpu_target(args)
    host = describe_host(device=args.device, threads=args.threads)
    for text in doubts(host):
        note(f"WARNING {text}")
    about = {"schema": SCHEMA, "model": index["model"], "device": args.device, "tensorrt": None}
    about |= {"batch": args.batch, "threads": args.threads, "processor": host["processor"], "host": host}
    about |= {"gpu": host["gpu"], "board": jetson_board() if args.device == "jetson" else None}
    manifest = read_manifest(args.model)
    about |= {key: manifest.get(key) for key in ("precision", "target")}
    about |= {"engine": args.backend or BACKENDS[0]} if target is None else target.about()
    about |= {key: index[key] for key in ("variant", "heads", "tokens", "width", "prunable")}
    if target is None:
        sample: Sample = cpu_sample(args.model, index, about, args.rounds or ROUNDS)
    else:
        engine = engine_path(args.out, {key: about[key] for key in SAME})
        sample = Sampler(args.model, index, target, engine)
    with keeping(
        lambda: (
            f"the groups of blocks measured so far are kept in {args.out}; the same command goes on after them"
        )
    ):
        table = measure(index, about, args.out, sample)
    if target is not None:
        engine.unlink(missing_ok=True)
        target.log.unlink(missing_ok=True)
    names = sorted({row["tokens"] for row in table["grid"]}, reverse=True)
    rows = [
        [
            group[0]["heads"],
            group[0]["hidden"],
            *(f"{cells[name]:.3f}" if name in cells else "" for name in names),
        ]
        for group in groups(table["grid"])
        for cells in [{row["tokens"]: row["ms"] for row in group}]
    ]
    print_table("ms a block", ["heads", "neurons", *(f"{name} tokens" for name in names)], rows)
    note(
        f"whole model {table['model_ms']:.2f} ms, {table['fixed_ms']:.2f} ms of it outside the prunable blocks"
    )
    return 0
