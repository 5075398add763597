"""`python -m runtime inspect`: count the images, identities and cameras of a data set, and print warnings."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from runtime.cli.arguments import DataOptions, add_layout_option, add_output_options

HELP = "count a data set's images, identities and cameras"


@dataclass(frozen=True)
class InspectOptions:
    """The data set `data` to count. `as_json` prints one JSON document instead of a table."""

    data: DataOptions
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `inspect` to `parser`."""
    parser.add_argument("root", metavar="ROOT", help="the data set's own folder")
    add_layout_option(parser)
    add_output_options(parser)


def command(args: Namespace) -> None:
    """Run the command `inspect` with the parsed arguments `args`."""
    run(InspectOptions(DataOptions(args.root, args.layout, args.max_bad), args.json))


def run(options: InspectOptions) -> None:
    """Print the numbers of images, identities and cameras of each split on stdout, and warnings on stderr."""
    from runtime import console, inspect_dataset
    from runtime.cli.notes import print_data_warnings
    from runtime.wording import printable

    data = options.data
    summary = inspect_dataset(data.root, layout=data.layout, max_bad=data.max_bad)
    print_data_warnings(summary, summary.warnings)
    splits = {name: counts.to_json() for name, counts in summary.splits.items()}
    if options.as_json:
        document = {"layout": summary.layout, "splits": splits, "skipped": len(summary.skipped)}
        document |= {"warnings": [printable(text) for text in summary.warnings]}
        console.print_json(document | {"left_out": [printable(text) for text in summary.left_out]})
        return
    rows = [[name, *counts.values()] for name, counts in splits.items()]
    console.print_table(summary.layout, ["split", "images", "identities", "cameras"], rows)
