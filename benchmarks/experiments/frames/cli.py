"""`python -m benchmarks.experiments.frames MODEL ...`: compare `embed_boxes` and `embed_frames` with the model alone.

Three things alternate in each round: the model alone on crops that are ready in memory, `embed_boxes` on the boxes of one frame after
the other, and `embed_frames`, which prepares the next frame in a thread. All three run the same boxes of the same frames. The frames
are noise, and the boxes are random people, 120 to 480 pixels high in a frame of 1920 x 1080.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments.options import FramesOptions
from benchmarks.options import Candidate, candidates_of
from runtime import console
from runtime.errors import ConfigError
from runtime.options.argument_types import positive_integer, positive_integers, seconds, width_and_height
from runtime.options.backend_option import add_backend_option

SMALLEST = (320, 240)


def parse(argv: Sequence[str] | None) -> FramesOptions:
    """Parse a command line into options. Raises ConfigError for a torch model, because the runtime does not run those."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.frames", description=__doc__)
    parser.add_argument("models", metavar="MODEL[@BACKEND]", nargs="+", help="an exported .onnx file")
    add_backend_option(parser)
    parser.add_argument(
        "--people",
        type=positive_integers,
        default=(1, 8, 32),
        metavar="N[,N]",
        help="numbers of boxes in a frame (default: 1,8,32)",
    )
    parser.add_argument(
        "--size", type=_size, default=(1920, 1080), metavar="WxH", help="size of a frame (default: 1920x1080)"
    )
    parser.add_argument(
        "--rounds",
        type=positive_integer,
        default=15,
        metavar="N",
        help="number of rounds (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=1.0,
        metavar="S",
        help="about how long each of the three runs in a round (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=positive_integer, metavar="N", help="threads of the model (default: all cores)"
    )
    parser.add_argument(
        "--allow-ungated", action="store_true", help="run models that have not passed their quality gate"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args(argv)
    common = Candidate(Path(), threads=args.threads, allow_ungated=args.allow_ungated, backend=args.backend)
    candidates = candidates_of(args.models, common)
    for candidate in candidates:
        if candidate.torch:
            raise ConfigError(
                f"{candidate.path}: these are torch weights, which the runtime does not run; give an exported .onnx file"
            )
    return FramesOptions(candidates, args.people, args.size, args.rounds, args.seconds, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the features of boxes with the model alone, and print a table or one JSON document.

    Returns 0, or raises a UserError.
    """
    return run(parse(argv))


def run(options: FramesOptions) -> int:
    """Measure every model with every number of people, and print the result."""
    from benchmarks.experiments.frames.shares import measure_frames

    document = measure_frames(options)
    for text in document["warnings"]:
        console.note(f"WARNING {text}")
    if options.as_json:
        console.print_json(document)
    else:
        _print(document)
    return 0


def _print(document: dict[str, Any]) -> None:
    forms = ("embed_boxes", "embed_frames")
    columns = ["model", "people", "model alone, people/s"]
    columns += [name for form in forms for name in (form, "5 % .. 95 %", "by CPU time")]
    rows = []
    for row in document["rows"]:
        cells: list[object] = [Path(row["model"]).name, row["people"], f"{row['people_per_s']:.1f}"]
        for form in forms:
            share = row[form]
            cells += [_percent(share["share"]), f"{_percent(share['low'])} .. {_percent(share['high'])}"]
            cells.append(_percent(share["cpu_share"]))
        rows.append(cells)
    console.print_table("share of the throughput of the model alone", columns, rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _size(text: str) -> tuple[int, int]:
    """Return (width, height) of a text such as "1920x1080", which must not be smaller than SMALLEST."""
    size = width_and_height(text)
    if size[0] < SMALLEST[0] or size[1] < SMALLEST[1]:
        raise argparse.ArgumentTypeError(f"{text!r}: give a size of at least {SMALLEST[0]}x{SMALLEST[1]}")
    return size
