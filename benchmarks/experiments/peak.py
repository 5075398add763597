"""`python -m benchmarks.experiments.peak MODEL[@BACKEND] ...`: the speed of models as a share of matrix products.

ONNX Runtime computes one 2048 x 2048 x 2048 product in FP32 and one in INT8. They take turns with the models; CPU time is measured.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
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
    """Which models are timed beside the products, with `batch` images a call, and the threads and number of calls of each."""

    candidates: tuple[Candidate, ...]
    batch: int
    threads: int
    rounds: int
    as_json: bool


def parse(argv: Sequence[str] | None) -> PeakOptions:
    """Parse the command line. ConfigError for a torch model, because only exported files are measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.peak", description=main.__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL[@BACKEND]", help="exported .onnx files")
    parser.add_argument(
        "--batch", type=positive_integer, default=8, metavar="N", help="images a call (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=positive_integer,
        default=1,
        metavar="N",
        help="threads of each (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=positive_integer,
        default=20,
        metavar="N",
        help="calls of each (default: %(default)s)",
    )
    parser.add_argument("--allow-ungated", action="store_true", help="run models that passed no quality gate")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of a table")
    args = parser.parse_args(argv)
    common = Candidate(Path(), threads=args.threads, allow_ungated=args.allow_ungated)
    candidates = candidates_of(args.models, common)
    if torch := [candidate.path for candidate in candidates if candidate.torch]:
        raise ConfigError(f"{torch[0]}: only exported .onnx files are measured here; bench.py times torch")
    return PeakOptions(candidates, args.batch, args.threads, args.rounds, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the operations a second of models with those of single matrix products, measured in turns on the CPU."""
    return run(parse(argv))


def run(options: PeakOptions) -> int:
    """Measure, and print a table or one JSON document."""
    from benchmarks.candidate import open_candidate
    from benchmarks.experiments.products import measure, operations

    batch, threads = options.batch, options.threads
    host = describe_host(device="cpu", threads=threads)
    for text in doubts(host):
        note(f"WARNING {text}")
    artifacts = [open_candidate(candidate) for candidate in options.candidates]
    for artifact in artifacts:
        # Fail before anything is measured in vain.
        operations(artifact, batch)
    found = measure(artifacts, threads=threads, batch=batch, rounds=options.rounds)
    if options.as_json:
        print_json({"host": host, "batch": batch, "threads": threads} | found)
    else:
        _print(found, f"batch {batch}, {threads} threads")
    return 0


def _print(document: dict[str, Any], title: str) -> None:
    rows: list[list[object]] = [
        [
            f"{one['side']}^3 product, {one['precision']}",
            "onnxruntime",
            f"{one['cpu_ms']:.1f}",
            f"{one['gops']:.0f}",
            "",
        ]
        for one in document["products"]
    ]
    for one in document["models"]:
        share = "-" if one["share"] is None else f"{100 * one['share']:.0f} %"
        rows.append([one["path"], one["engine"], f"{one['cpu_ms']:.1f}", f"{one['gops']:.0f}", share])
    names = ["", "engine", "CPU ms", "10^9 operations a CPU-second", "of the product"]
    print_table(title, names, rows)
