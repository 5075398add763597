"""`python -m runtime gallery verify`, `compact` and `info`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runtime.cli.gallery.arguments import add_store_option
from runtime.options.store_place import StorePlace

VERIFY_HELP = "compare every row and feature with its checksum"
COMPACT_HELP = "free the space of deleted rows"
INFO_HELP = "count rows, cameras and people, and show times and sizes"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of these commands to `parser`."""
    add_store_option(parser)


def verify(args: Namespace) -> None:
    """Run the command `gallery verify` with the parsed arguments `args`."""
    run_verify(args.store, as_json=args.json)


def compact(args: Namespace) -> None:
    """Run the command `gallery compact` with the parsed arguments `args`."""
    run_compact(args.store, as_json=args.json)


def info(args: Namespace) -> None:
    """Run the command `gallery info` with the parsed arguments `args`."""
    run_info(args.store, as_json=args.json)


def run_verify(store: StorePlace, *, as_json: bool) -> None:
    """Print how many rows were verified and what is damaged. Raises StorageError if anything is."""
    from runtime import StorageError, console, open_gallery
    from runtime.cli.notes import print_result

    with open_gallery(store) as gallery:
        result = gallery.verify()
    for problem in [] if as_json else result.problems:
        console.note(problem)
    if len(result.problems) < result.damaged:
        console.note(f"the first {len(result.problems)} of {result.damaged} problems are listed")
    summary = {"store": str(store), "rows": result.rows, "damaged": result.damaged}
    print_result(
        "gallery", summary | ({"problems": list(result.problems)} if as_json else {}), as_json=as_json
    )
    if result.problems:
        raise StorageError(
            f"{store}: {result.damaged} problems; delete damaged rows with gallery delete --id and add their images again, or "
            "restore a copy"
        )


def run_compact(store: StorePlace, *, as_json: bool) -> None:
    """Compact the gallery, and print how many slots were freed."""
    from runtime import open_gallery
    from runtime.cli.notes import print_result

    with open_gallery(store) as gallery:
        result = gallery.compact()
    summary = {"store": str(store), "rows": result.rows, "freed": result.freed}
    print_result("gallery", summary, as_json=as_json)


def run_info(store: StorePlace, *, as_json: bool) -> None:
    """Print what the gallery holds."""
    from runtime import console, open_gallery
    from runtime.cli.notes import print_result
    from runtime.gallery.times import time_text

    with open_gallery(store) as gallery:
        content, space = gallery.info(), gallery.space
    summary = {
        "store": str(store),
        "rows": content.rows,
        "persons": content.persons,
        "tracks": content.tracks,
        "first": time_text(content.first_us),
        "last": time_text(content.last_us),
        "timeless": content.timeless,
        "free_slots": content.free_slots,
        "feature_bytes": content.feature_bytes,
        "other_bytes": content.other_bytes,
        "thumbnails": content.thumbnails,
        "dim": space.dim,
        "camera": space.camera,
        "resize": space.resize,
        "model": space.model,
        "projection": space.projection,
    }
    cameras = {"unknown" if number is None else str(number): rows for number, rows in content.cameras.items()}
    if as_json:
        console.print_json(summary | {"cameras": cameras, "calibrations": content.calibrations})
        return
    shown = {name: "" if value is None else value for name, value in summary.items()}
    print_result("gallery", shown, as_json=False)
    if cameras:
        console.print_table("cameras", ["camera", "rows"], list(cameras.items()))
