"""`python -m benchmarks.latency_table.predict TABLE.json --weights M.safetensors`: test the predictions of a latency table.

The command exports models that have a random number of heads, tokens and MLP neurons in every block, and times them on the backend
of the table.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
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
    """The command line: the latency `table` to test, the unpruned `model` (ONNX) that it belongs to, and that model's `weights`.

    `count` models with random numbers of heads, tokens and MLP neurons are made in the folder `work`, and each is timed `rounds`
    times. The result is written to the JSON file `out`.
    """

    table: Path
    model: Path
    weights: Path
    count: int
    rounds: int
    work: Path
    out: Path


def parse(argv: Sequence[str] | None) -> PredictOptions:
    """Parse the arguments of the command line, `argv`, into options. None stands for those of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency_table.predict", description=main.__doc__
    )
    parser.add_argument("table", type=Path, metavar="TABLE.json", help="the latency table to test")
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
        "--rounds",
        type=positive_integer,
        default=60,
        metavar="N",
        help="number of timed calls of each model (default: %(default)s)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        required=True,
        help="the folder for the random models; random models that are already in it are not made again",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="R.json", help="the file to write the result to"
    )
    args = parser.parse_args(argv)
    return PredictOptions(args.table, args.model, args.weights, args.count, args.rounds, args.work, args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Time models with a random number of heads, tokens and neurons in each block, and compare with the table's predictions."""
    return run(parse(argv))


def run(options: PredictOptions) -> int:
    """Make the random models that `options.work` lacks, time all of them, write and print the comparison, and return 0."""
    from benchmarks.latency_table.unseen import compared, random_models

    # If the table is unusable, the command fails before it makes models.
    read_cpu_table(options.table)
    options.work.mkdir(parents=True, exist_ok=True)
    models = random_models(options.weights, options.count, options.work.resolve())
    result = {"host": describe_host(device="cpu", threads=None)} | compared(
        options.table, options.model, models, rounds=options.rounds, out=options.out
    )
    with replacing(options.out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    rows = [
        [point["model"], f"{point['predicted_ms']:.2f}", f"{point['measured_ms']:.2f}"]
        for point in result["points"]
    ]
    print_table("predicted and measured, ms", ["model", "predicted", "measured"], rows)
    note(
        f"rank correlation {result['spearman']:.3f}, median error {result['median_error']:.1%}. The unpruned model takes "
        f"{result['drift']:.2f} times as long as when the table was measured"
    )
    return 0
