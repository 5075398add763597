"""Measure the service: throughput and latency, a soak, overload, stopping under load, and slow clients.

The server and the generator of the load run on one core each. The rows of the galleries are synthetic.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.service.options import MEASUREMENTS, ServiceOptions
from runtime.console import print_json
from runtime.errors import ConfigError, GateError
from runtime.options.argument_types import positive_integer, seconds


def parse(argv: Sequence[str] | None) -> ServiceOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument(
        "measurements",
        nargs="*",
        metavar="MEASUREMENT",
        help=f"what to measure, of {', '.join(MEASUREMENTS)} (default: all)",
    )
    parser.add_argument("--model", type=Path, required=True, metavar="M", help="the model of the server")
    parser.add_argument(
        "--pictures",
        type=Path,
        default=Path("data/anny_reid/query"),
        metavar="DIR",
        help="crops to search with, as .jpg files (default: %(default)s)",
    )
    parser.add_argument(
        "--rows",
        type=positive_integer,
        nargs="+",
        default=[1000, 100_000],
        metavar="N",
        help="rows of the galleries; the measurements other than search use the first (default: 1000 100000)",
    )
    parser.add_argument(
        "--seconds", type=seconds, default=20.0, help="seconds of each load (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=seconds, default=10.0, help="minutes of the soak (default: %(default)s)"
    )
    parser.add_argument(
        "--stops", type=positive_integer, default=50, help="servers to stop under load (default: %(default)s)"
    )
    parser.add_argument(
        "--sockets", type=positive_integer, default=500, help="trickling connections (default: %(default)s)"
    )
    parser.add_argument(
        "--cores",
        type=int,
        nargs=2,
        default=[0, 1],
        metavar=("SERVER", "GENERATOR"),
        help="the core of the server and that of the generator (default: 0 1)",
    )
    parser.add_argument(
        "--at", type=Path, metavar="DIR", help="keep the galleries below DIR (default: a temporary folder)"
    )
    parser.add_argument(
        "--allow-ungated", action="store_true", help="also run a model that has not passed its quality gate"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of tables")
    args = parser.parse_args(argv)
    for measurement in args.measurements:
        if measurement not in MEASUREMENTS:
            raise ConfigError(f"{measurement}: no such measurement; give some of {', '.join(MEASUREMENTS)}")
    server, generator = args.cores
    return ServiceOptions(
        tuple(args.measurements) or MEASUREMENTS,
        args.model,
        args.pictures,
        tuple(args.rows),
        args.seconds,
        args.minutes,
        args.stops,
        args.sockets,
        (server, generator),
        args.at,
        args.allow_ungated,
        args.json,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the service. Raises GateError if the server lost an accepted request or answered with an error of its own."""
    options = parse(argv)
    try:
        # before numpy is imported, whose threads would stay on the core of the server otherwise
        for core in options.cores:
            os.sched_setaffinity(0, {core})
    except (AttributeError, OSError):
        raise ConfigError(
            f"--cores {options.cores[0]} {options.cores[1]}: this process cannot run on these cores; give the numbers of two cores"
        ) from None
    from benchmarks.service.measuring import measure
    from benchmarks.service.report import faults, print_results

    with tempfile.TemporaryDirectory() as folder:
        document = measure(options, options.at or Path(folder))
    if options.as_json:
        print_json(document)
    else:
        print_results(document["results"])
    if wrong := faults(document["results"]):
        raise GateError(f"the service did what it must not: {'; '.join(wrong)}")
    return 0
