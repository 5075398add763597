"""`python -m runtime gallery index`: make the codes for a fast approximate search."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runtime.cli.gallery.arguments import add_store_option
from runtime.options.argument_types import fraction
from runtime.options.store_place import StorePlace

HELP = "make an index for a fast search, and check its recall (needs the extra index)"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `gallery index` to `parser`."""
    add_store_option(parser)
    parser.add_argument(
        "--recall",
        type=fraction,
        default=0.99,
        metavar="SHARE",
        help="end with exit code 7 if the index finds less than this share of the same-person hits (default: %(default)s)",
    )


def command(args: Namespace) -> None:
    """Run the command `gallery index` with the parsed arguments `args`."""
    run(args.store, args.recall, as_json=args.json)


def run(store: StorePlace, least: float, *, as_json: bool) -> None:
    """Build the index, and print its recall."""
    from dataclasses import asdict

    from runtime import open_gallery
    from runtime.cli.notes import print_result

    with open_gallery(store) as gallery:
        result = gallery.build_index(recall=least)
        coverage = gallery.coverage()
    print_result("gallery", {"store": str(store)} | asdict(coverage) | asdict(result), as_json=as_json)
