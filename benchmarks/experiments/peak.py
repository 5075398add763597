"""`python -m benchmarks.experiments.peak MODEL[@BACKEND] ...`: compare the speed of models with that of matrix products.

The speed is the number of operations in a second of CPU time. For comparison, ONNX Runtime multiplies two 2048 x 2048 matrices in FP32
and in INT8. Each round of the measurement calls every model and every product once.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.experiments.peak"))

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.host import describe_host, doubts
from benchmarks.options import Candidate, candidates_of
from runtime.console import note, print_json, print_table
from runtime.errors import ConfigError
from runtime.options.argument_types import positive_integer


@dataclass(frozen=True)
class PeakOptions:
    """The command line: the models to compare with matrix products (`candidates`).

    A call of a model runs `batch` images. Models and products use `threads` threads, and each is called `rounds` times. With
    `as_json`, the result is printed as one JSON document.
    """

    candidates: tuple[Candidate, ...]
    batch: int
    threads: int
    rounds: int
    as_json: bool


def parse(argv: Sequence[str] | None) -> PeakOptions:
    """Parse a command line into options. Raises ConfigError for a torch model, because only exported files are measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.peak", description=main.__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL[@BACKEND]", help="exported .onnx files")
    parser.add_argument(
        "--batch",
        type=positive_integer,
        default=8,
        metavar="N",
        help="number of images in each call of a model (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=positive_integer,
        default=1,
        metavar="N",
        help="number of threads for each model and each matrix product (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=positive_integer,
        default=20,
        metavar="N",
        help="number of timed calls of each model and each matrix product (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-ungated", action="store_true", help="also run models that have not passed their quality gate"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args(argv)
    common = Candidate(Path(), threads=args.threads, allow_ungated=args.allow_ungated)
    candidates = candidates_of(args.models, common)
    if torch := [candidate.path for candidate in candidates if candidate.torch]:
        raise ConfigError(
            f"{torch[0]}: this command measures only exported .onnx files; to time torch weights, use bench.py"
        )
    return PeakOptions(candidates, args.batch, args.threads, args.rounds, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the operations per CPU second of models on the CPU, and compare them with those of a large matrix product."""
    return run(parse(argv))


def run(options: PeakOptions) -> int:
    """Measure the models of `options` and the matrix products, and print a table or one JSON document."""
    from benchmarks.candidate import open_candidate
    from benchmarks.experiments.products import measure, operations

    batch, threads = options.batch, options.threads
    host = describe_host(device="cpu", threads=threads)
    for text in doubts(host):
        note(f"WARNING {text}")
    artifacts = [open_candidate(candidate) for candidate in options.candidates]
    for artifact in artifacts:
        # If the manifest has no count of operations, the command fails before it measures.
        operations(artifact, batch)
    results = measure(artifacts, threads=threads, batch=batch, rounds=options.rounds)
    if options.as_json:
        print_json({"host": host, "batch": batch, "threads": threads} | results)
    else:
        _print(results, f"batch {batch}, {threads} threads")
    return 0


def _print(document: dict[str, Any], title: str) -> None:
    rows: list[list[object]] = [
        [
            f"{product['side']}^3 product, {product['precision']}",
            "onnxruntime",
            f"{product['cpu_ms']:.1f}",
            f"{product['gops']:.0f}",
            "",
        ]
        for product in document["products"]
    ]
    for model in document["models"]:
        share = "-" if model["share"] is None else f"{100 * model['share']:.0f} %"
        rows.append([model["path"], model["engine"], f"{model['cpu_ms']:.1f}", f"{model['gops']:.0f}", share])
    names = [
        "model or product",
        "backend",
        "CPU ms",
        "10^9 operations per CPU second",
        "relative to the product",
    ]
    print_table(title, names, rows)
