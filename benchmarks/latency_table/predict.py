"""`python -m benchmarks.latency_table.predict TABLE.json --weights M.safetensors`: test the predictions of a latency table.

Models with random heads, tokens and MLP neurons in every block are exported and timed on the backend of the table.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.latency_table.predict"))

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.host import describe_host
from benchmarks.latency_table.table import read_cpu_table
from runtime.console import note, print_table
from runtime.files.manifest import replacing
from runtime.options.argument_types import positive_integer


@dataclass(frozen=True)
class PredictOptions:
    """The latency table, the unpruned model and weights, how many random models test the table, and the folder and result file."""

    table: Path
    model: Path
    weights: Path
    count: int
    rounds: int
    work: Path
    out: Path


def parse(argv: Sequence[str] | None) -> PredictOptions:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency_table.predict", description=main.__doc__
    )
    parser.add_argument("table", type=Path, metavar="TABLE.json")
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="MODEL.onnx",
        help="the unpruned model that the table was measured on",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        metavar="M.safetensors",
        help="the unpruned weights of that model",
    )
    parser.add_argument(
        "--count",
        type=positive_integer,
        default=12,
        metavar="N",
        help="number of random models (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=positive_integer, default=60, metavar="N", help="runs of each (default: %(default)s)"
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the models; existing models are reused"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="R.json")
    args = parser.parse_args(argv)
    return PredictOptions(args.table, args.model, args.weights, args.count, args.rounds, args.work, args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Time models with random counts per block, and compare their times with the predictions of the table."""
    return run(parse(argv))


def run(options: PredictOptions) -> int:
    """Make the missing models, time all of them, and write and print the comparison."""
    from benchmarks.latency_table.unseen import compared, random_models

    # Fail before models are made in vain.
    read_cpu_table(options.table)
    options.work.mkdir(parents=True, exist_ok=True)
    models = random_models(options.weights, options.count, options.work.resolve())
    result = {"host": describe_host(device="cpu", threads=None)} | compared(
        options.table, options.model, models, rounds=options.rounds, out=options.out
    )
    with replacing(options.out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    rows = [
        [one["model"], f"{one['predicted_ms']:.2f}", f"{one['measured_ms']:.2f}"] for one in result["points"]
    ]
    print_table("predicted and measured, ms", ["model", "predicted", "measured"], rows)
    note(
        f"rank correlation {result['spearman']:.3f}, median error {result['median_error']:.1%}; the machine is "
        f"{result['drift']:.2f} times as slow as when the table was measured"
    )
    return 0
