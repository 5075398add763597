"""`python -m runtime inspect`: count the images, identities and cameras of a data set, and print warnings."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from runtime.cli.arguments import DataOptions, add_layout_option, add_output_options

HELP = "count a data set's images, identities and cameras"


@dataclass(frozen=True)
class InspectOptions:
    """The data set to count, and whether the result is one JSON document."""

    data: DataOptions
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `inspect`."""
    parser.add_argument("root", metavar="ROOT", help="the data set's own folder")
    add_layout_option(parser)
    add_output_options(parser)


def command(args: Namespace) -> None:
    """Run `inspect` with parsed arguments."""
    run(InspectOptions(DataOptions(args.root, args.layout, args.max_bad), args.json))


def run(options: InspectOptions) -> None:
    """Print the images, identities and cameras of each split; warnings go to stderr."""
    from runtime import console
    from runtime.cli.notes import print_data_warnings
    from runtime.datasets import count_warnings, counts, read_dataset
    from runtime.wording import printable

    data = options.data
    dataset = read_dataset(data.root, data.layout, max_bad=data.max_bad)
    warnings = count_warnings(dataset)
    splits = counts(dataset)
    print_data_warnings(dataset, warnings)
    if options.as_json:
        document = {"layout": dataset.layout, "splits": splits, "skipped": len(dataset.skipped)}
        document |= {"warnings": [printable(text) for text in warnings]}
        console.print_json(document | {"left_out": [printable(text) for text in dataset.left_out]})
        return
    rows = [[name, *split.values()] for name, split in splits.items()]
    console.print_table(dataset.layout, ["split", "images", "identities", "cameras"], rows)
