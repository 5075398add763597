"""`python -m runtime gallery merge` and `export`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from runtime.cli.gallery.arguments import FilterOptions, add_filter_options, add_store_option, filter_options
from runtime.options.store_place import StorePlace, store_place

MERGE_HELP = "add the rows of other galleries or feature files"
EXPORT_HELP = "write the rows to a feature file, or without features to a list"


@dataclass(frozen=True)
class ExportOptions:
    """The gallery `store`, which rows to write, and the file `out`: .npz with features, .jsonl without."""

    store: StorePlace
    filters: FilterOptions
    out: Path
    as_json: bool


def add_merge_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `gallery merge` to `parser`."""
    parser.add_argument(
        "sources",
        nargs="+",
        type=store_place,
        metavar="SOURCE",
        help="a gallery (a folder or postgresql://...), or a feature file (.npz); they may overlap",
    )
    add_store_option(parser)
    parser.add_argument(
        "--start",
        metavar="TIME",
        help="when the video of a feature file began, such as 2026-11-27T10:15:00Z (default: times within a video are not stored)",
    )


def add_export_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `gallery export` to `parser`."""
    add_store_option(parser)
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE",
        help="the file to write: .npz for features, as extract writes them, or .jsonl for a list of the rows",
    )
    add_filter_options(parser)


def merge(args: Namespace) -> None:
    """Run the command `gallery merge` with the parsed arguments `args`."""
    run_merge(args.store, tuple(args.sources), args.start, as_json=args.json)


def export(args: Namespace) -> None:
    """Run the command `gallery export` with the parsed arguments `args`."""
    run_export(ExportOptions(args.store, filter_options(args), args.out, args.json))


def run_merge(
    store: StorePlace, sources: tuple[StorePlace, ...], start: str | None, *, as_json: bool
) -> None:
    """Add the rows of the sources to the gallery, and print how many were new."""
    from runtime.cli.notes import print_notes, print_result
    from runtime.gallery.exchange import merge as merged

    added = merged(store, sources, start=start)
    if added.differing:
        print_notes(
            [
                f"{added.differing} images are stored with another camera, time, track or person, which stay; delete them first "
                "to change them"
            ]
        )
    summary = {"store": str(store), "added": added.added, "present": added.present}
    print_result("gallery", summary, as_json=as_json)


def run_export(options: ExportOptions) -> None:
    """Write the rows to the file, and print their number."""
    from runtime import ConfigError, open_gallery, save_features
    from runtime.cli.notes import print_notes, print_result
    from runtime.gallery.exchange import to_features, write_rows

    out, filters = options.out, options.filters.filters()
    if out.suffix not in (".npz", ".jsonl"):
        raise ConfigError(
            f"--out {out}: give a file that ends in .npz (features) or .jsonl (a list of the rows)"
        )
    with open_gallery(options.store) as gallery:
        if out.suffix == ".npz":
            features = to_features(gallery, filters)
            save_features(out, features)
            print_notes(features.notes)
            rows = len(features.paths)
        else:
            rows = write_rows(gallery, out, filters)
    print_result("gallery", {"out": str(out), "rows": rows}, as_json=options.as_json)
