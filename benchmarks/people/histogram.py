"""Score a baseline that every model should beat: HSV histograms of six horizontal stripes.

`python -m benchmarks.people.histogram ROOT [--layout NAME] [--json]`. On Anny-ReID the baseline should rank the right person
first for 10 to 35 % of the queries: the colours of clothes help, but are not enough.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before the other imports, so that they too can be stopped without a traceback.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.people.histogram"))

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from runtime import console


@dataclass(frozen=True)
class HistogramOptions:
    """The data set to score; a `layout` of None is guessed."""

    root: str
    layout: str | None
    as_json: bool


def parse(argv: Sequence[str] | None) -> HistogramOptions:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.histogram", description=__doc__)
    parser.add_argument("root", metavar="ROOT", help="folder of the data set")
    parser.add_argument("--layout", help="layout of the data set (guessed from the folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    return HistogramOptions(args.root, args.layout, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the scores of the histogram on a data set."""
    return score(parse(argv))


def score(options: HistogramOptions) -> int:
    """Score the data set, and print the scores."""
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
