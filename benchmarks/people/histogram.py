"""Score colour histograms on a data set, as a baseline for models: `python -m benchmarks.people.histogram ROOT`.

A feature consists of HSV histograms of six horizontal stripes of the image. On Anny-ReID, the R1 of this baseline should be 10 to
35 %. The colours of clothes then help to find a person, but do not suffice.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.people.histogram"))

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from runtime import console


@dataclass(frozen=True)
class HistogramOptions:
    """The command line: the folder of the data set, `root`, and its `layout`, or None to guess it from the folder.

    With `as_json`, the scores are printed as one JSON document.
    """

    root: str
    layout: str | None
    as_json: bool


def parse(argv: Sequence[str] | None) -> HistogramOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.histogram", description=__doc__)
    parser.add_argument("root", metavar="ROOT", help="folder of the data set")
    parser.add_argument("--layout", help="layout of the data set; by default it is guessed from the folder")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    args = parser.parse_args(argv)
    return HistogramOptions(args.root, args.layout, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the scores of colour histograms on a data set."""
    return score(parse(argv))


def score(options: HistogramOptions) -> int:
    """Score colour histograms on the data set of `options`, and print the scores."""
    from benchmarks.people.stripes import scores

    measures = scores(options.root, layout=options.layout).to_json()
    if options.as_json:
        console.print_json(measures)
    else:
        rows = [
            (name, f"{value:.1%}" if isinstance(value, float) else value) for name, value in measures.items()
        ]
        console.print_table("six-stripe HSV histogram", ("measure", "value"), rows)
    return 0
