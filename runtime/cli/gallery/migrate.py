"""`python -m runtime gallery migrate`: move a gallery between a folder and a server."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runtime.options.store_place import StorePlace, store_place

HELP = "copy a gallery with its calibrations from a folder to a server, or back"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `gallery migrate` to `parser`."""
    for name, text in (("source", "which stays as it is"), ("target", "made if it is missing")):
        parser.add_argument(
            name,
            type=store_place,
            metavar=name.upper(),
            help=f"a folder, or postgresql://USER@HOST/DATABASE; {text}",
        )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of a table")


def command(args: Namespace) -> None:
    """Run the command `gallery migrate` with the parsed arguments `args`."""
    run(args.source, args.target, as_json=args.json)


def run(source: StorePlace, target: StorePlace, *, as_json: bool) -> None:
    """Copy the gallery, compare every row, and print how many there were."""
    from dataclasses import asdict

    from runtime import console, open_gallery
    from runtime.cli.notes import print_result
    from runtime.gallery.migrating import migrate
    from runtime.stopping import keeping

    with open_gallery(source) as gallery:
        count = len(gallery)
    with (
        keeping(lambda: f"the same command resumes the migration to {target}"),
        console.progress("gallery migrate", count) as advance,
    ):
        result = migrate(source, target, progress=advance)
    print_result("gallery", {"source": str(source), "target": str(target)} | asdict(result), as_json=as_json)
