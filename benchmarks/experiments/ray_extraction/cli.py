"""`python -m benchmarks.experiments.ray_extraction MODEL IMAGES`: compare extraction on Ray with worker processes.

Extractions with `--preset throughput` and with `--on ray` alternate, each in a new process, of the same new JPEG files. Both keep
finished images as the commands do. One more extraction on Ray, into a gallery, loses an actor again and again. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.experiments.ray_extraction.options import RayOptions
from runtime import console
from runtime.errors import GateError
from runtime.options.argument_types import count, positive_integer


def parse(argv: Sequence[str] | None) -> RayOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.ray_extraction", description=__doc__
    )
    parser.add_argument("model", metavar="MODEL", help="an exported .onnx file")
    parser.add_argument("images", metavar="IMAGES", help="a folder or a list of the images to make files of")
    parser.add_argument(
        "--count",
        type=positive_integer,
        default=5000,
        metavar="N",
        help="images in an extraction (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=positive_integer,
        default=5,
        metavar="N",
        help="number of rounds (default: %(default)s)",
    )
    parser.add_argument(
        "--kills",
        type=count,
        default=20,
        metavar="N",
        help="actors to kill in one more extraction (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    args = parser.parse_args(argv)
    return RayOptions(args.model, args.images, args.count, args.rounds, args.kills, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare extraction on Ray with worker processes, and print tables or one JSON document. Returns 0, or raises a UserError.

    Raises GateError, after the result is printed, if Ray lost an image, doubled a row or changed a feature.
    """
    return run(parse(argv))


def run(options: RayOptions) -> int:
    """Make the images, measure the extractions, and print the result."""
    from benchmarks.experiments.ray_extraction.measured import measure
    from benchmarks.experiments.ray_extraction.report import death_rows, speed_rows

    with tempfile.TemporaryDirectory(prefix="ray-extraction-") as folder:
        document = measure(options, Path(folder))
    for text in document["warnings"]:
        console.note(f"WARNING {text}")
    if options.as_json:
        console.print_json(document)
    else:
        console.print_table("worker processes and Ray", *speed_rows(document))
        console.print_table("killed actors", *death_rows(document))
    killed = document["killed"]
    if killed["lost"] or killed["twice"] or not (killed["equal"] and document["equal"]):
        raise GateError("Ray lost or doubled images, or changed features; see the result")
    return 0
