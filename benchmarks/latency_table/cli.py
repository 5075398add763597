"""`python -m benchmarks.latency_table MODEL.onnx --out table.json`: measure the time of transformer blocks on this machine.

The latency table gives the milliseconds of a block for each number of heads, tokens and MLP neurons, and `prune.py --search` reads
it. The command times the blocks that `export_onnx.py --blocks` wrote beside MODEL.onnx, on the backend that will run the model. If
the command is stopped, run it again to measure the blocks that are missing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.console import note, print_table
from runtime.errors import ConfigError
from runtime.options.argument_types import positive_integer
from runtime.options.choices import BACKENDS

if TYPE_CHECKING:
    from benchmarks.latency_table.trtexec import Target

DEVICES = ("cpu", "cuda", "jetson")
# The default number of runs of each block on a CPU.
ROUNDS = 40


@dataclass(frozen=True)
class TableOptions:
    """The command line: the `model` whose blocks are measured, the `device` that runs them, and `out`, the file of the table.

    `batch` is the number of images per call. `backend`, `threads` (None for all cores) and `rounds`, the number of calls of each
    block, are used only with the device "cpu". On "cuda" and "jetson", trtexec measures.
    """

    model: Path
    out: Path
    device: str
    backend: str
    threads: int | None
    batch: int
    rounds: int


def parse(argv: Sequence[str] | None) -> TableOptions:
    """Parse the arguments of the command line, `argv`, into options. None stands for those of this process.

    Raises ConfigError if options contradict each other.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency_table", description=main.__doc__)
    parser.add_argument(
        "model", type=Path, metavar="MODEL.onnx", help="an unpruned model, exported with --blocks"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="TABLE.json", help="the file to write the latency table to"
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="cpu",
        help="cpu times a CPU backend; cuda and jetson time TensorRT with trtexec (default: %(default)s)",
    )
    parser.add_argument(
        "--backend",
        "--engine",
        dest="backend",
        choices=BACKENDS,
        help=f"the backend to time with --device cpu (default: {BACKENDS[0]})",
    )
    parser.add_argument(
        "--threads",
        type=positive_integer,
        metavar="N",
        help="number of threads of the backend with --device cpu (default: one for each core)",
    )
    parser.add_argument(
        "--batch",
        type=positive_integer,
        default=1,
        metavar="N",
        help="images per call (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=positive_integer,
        metavar="N",
        help=f"number of timed calls of each block with --device cpu (default: {ROUNDS})",
    )
    args = parser.parse_args(argv)
    if args.out.resolve() == args.model.resolve():
        raise ConfigError(f"--out {args.out}: this is the model; give another file, such as table.json")
    for option in ("backend", "threads", "rounds"):
        if args.device != "cpu" and getattr(args, option) is not None:
            raise ConfigError(
                f"--{option}: works only with --device cpu, because trtexec measures on a GPU; remove this option"
            )
    backend, rounds = args.backend or BACKENDS[0], args.rounds or ROUNDS
    return TableOptions(args.model, args.out, args.device, backend, args.threads, args.batch, rounds)


def main(argv: Sequence[str] | None = None) -> int:
    """Time the transformer blocks of MODEL.onnx on this machine, and write the latency table that prune.py --search reads."""
    return run(parse(argv))


def run(options: TableOptions) -> int:
    """Measure the block sizes, write the table to `options.out`, print it and return 0.

    If that file is an unfinished table with the same settings, only the block sizes that it lacks are measured.
    """
    from benchmarks.host import describe_host, doubts
    from benchmarks.latency_table.blocks import ABOUT, SAME, SCHEMA, Sample, cpu_sample, measure, read_index
    from benchmarks.latency_table.trtexec import Sampler, engine_path
    from runtime.files.manifest import read_manifest
    from runtime.stopping import keeping

    index = read_index(options.model)
    target = None if options.device == "cpu" else _target(options)
    host = describe_host(device=options.device, threads=options.threads)
    for text in doubts(host):
        note(f"WARNING {text}")
    about = {"schema": SCHEMA, "model": index["model"], "device": options.device, "tensorrt": None}
    about |= {
        "batch": options.batch,
        "threads": options.threads,
        "processor": host["processor"],
        "host": host,
    }
    about |= {"gpu": host["gpu"], "board": _board() if options.device == "jetson" else None}
    manifest = read_manifest(options.model)
    about |= {key: manifest.get(key) for key in ("precision", "target")}
    about |= {"engine": options.backend} if target is None else target.about()
    about |= {key: index[key] for key in ABOUT}
    if target is None:
        sample: Sample = cpu_sample(options.model, index, about, options.rounds)
    else:
        engine = engine_path(options.out, {key: about[key] for key in SAME})
        sample = Sampler(options.model, index, target, engine)
    with keeping(
        lambda: f"the blocks measured so far are saved in {options.out}; the same command measures the others"
    ):
        table = measure(index, about, options.out, sample)
    if target is not None:
        engine.unlink(missing_ok=True)
        target.log.unlink(missing_ok=True)
    _print(table)
    return 0


def _target(options: TableOptions) -> Target:
    """Return the trtexec of this machine. Raises DeviceError if --device jetson is given on another machine."""
    from benchmarks.device.jetson import refuse_elsewhere
    from benchmarks.latency_table.trtexec import open_target

    if options.device == "jetson":
        refuse_elsewhere(Path("/"), os.environ)
    return open_target(options.out, options.batch)


def _board() -> dict[str, Any]:
    """Return the module, JetPack version and power mode of this Jetson, because times differ between power modes."""
    from benchmarks.device import board
    from engines.doctor.doctor import nvpmodel_output

    return board.describe(Path("/"), os.environ, nvpmodel_output())


def _print(table: dict[str, Any]) -> None:
    from benchmarks.latency_table.blocks import groups

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
    print_table("ms per block", ["heads", "neurons", *(f"{name} tokens" for name in names)], rows)
    note(
        f"the whole model takes {table['model_ms']:.2f} ms, of which {table['fixed_ms']:.2f} ms are outside the prunable blocks"
    )
