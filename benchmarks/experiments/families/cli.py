"""`python -m benchmarks.experiments.families`: train, prune, export, time and build one model of every family of checkpoints.

The models have random weights. One copy is trained for one epoch on the synthetic people of data/anny_reid, to see that its loss
falls; another one is pruned and exported. Their accuracy means nothing; the multiply-adds, the times and the engines do not depend on
it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.experiments.families.report import costs_table, counts_table, gates_table
from benchmarks.experiments.families.trial import CASES, Case, counted, earlier, measure
from benchmarks.host import describe_host
from runtime.console import print_json, print_table
from runtime.files.manifest import replacing
from runtime.stopping import keeping


@dataclass(frozen=True)
class FamiliesOptions:
    """The command line: the `cases` to measure, the folder `work` for all files, and the result file `out`.

    Each exported model is timed for `seconds` seconds. With `engines`, TensorRT-RTX engines are built. If `work` is None, the
    multiply-adds are counted and nothing is run.
    """

    cases: tuple[Case, ...]
    work: Path | None
    out: Path
    seconds: float
    engines: bool
    as_json: bool


def parse(argv: Sequence[str] | None) -> FamiliesOptions:
    """Parse a command line into options. Without --family, all families are measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.families", description=main.__doc__
    )
    parser.add_argument(
        "--family",
        action="append",
        choices=[case.name for case in CASES],
        help="measure only this one; may be repeated. The results of others that --out holds are kept",
    )
    parser.add_argument(
        "--work",
        type=Path,
        help="folder for models and engines; files that it already has are used again (default: none; only the multiply-adds are "
        "counted)",
    )
    parser.add_argument("--out", type=Path, required=True, help="the file to write the result to (.json)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds for which each model is timed (default: %(default)s)",
    )
    parser.add_argument("--no-engines", action="store_true", help="build no TensorRT-RTX engines")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    args = parser.parse_args(argv)
    cases = tuple(case for case in CASES if not args.family or case.name in args.family)
    return FamiliesOptions(cases, args.work, args.out, args.seconds, not args.no_engines, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Train one model of each family for an epoch; measure another one before and after 25 % of its heads and tokens are removed."""
    return run(parse(argv))


def run(options: FamiliesOptions) -> int:
    """Measure the cases of `options`, write the result after each of them, and print it. Returns exit code 0."""
    if options.work is None:
        document: dict[str, Any] = {"models": [counted(case) for case in options.cases]}
        _write(options.out, document)
    else:
        document = _measured(options, options.work.resolve())
    if options.as_json:
        print_json(document)
    elif options.work is None:
        print_table("multiply-adds, unpruned and pruned", *counts_table(document))
    else:
        print_table("multiply-adds, milliseconds and engines, unpruned and pruned", *costs_table(document))
        print_table(
            "losses of an epoch, and lowest cosine at the gates, unpruned and pruned", *gates_table(document)
        )
    return 0


def _measured(options: FamiliesOptions, work: Path) -> dict[str, Any]:
    models = {row["name"]: row for row in earlier(options.out)}
    with keeping(lambda: f"the files made so far are kept in {work}; the same command makes the others"):
        for case in options.cases:
            models[case.name] = measure(case, work, seconds=options.seconds, engines=options.engines)
            rows = [models[other.name] for other in CASES if other.name in models]
            document = {"host": describe_host(device="cpu", threads=None), "models": rows}
            _write(options.out, document)
    return document


def _write(out: Path, document: dict[str, Any]) -> None:
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
