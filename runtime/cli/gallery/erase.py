"""`python -m runtime gallery delete` and `expire`: delete rows so that no file of the gallery holds their bytes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from runtime.cli.gallery.arguments import add_store_option, camera_number
from runtime.options.store_place import StorePlace

DELETE_HELP = "delete the rows of a person, an image or a camera, or before a time"
EXPIRE_HELP = "delete the rows that are older than a duration"


@dataclass(frozen=True)
class DeleteOptions:
    """The gallery `store`, and which rows to delete: those that fit everything that is given."""

    store: StorePlace
    person: str | None
    image: str | None
    id: int | None
    camera: int | None
    before: str | None
    as_json: bool


@dataclass(frozen=True)
class ExpireOptions:
    """The gallery `store`, and the duration after which a row is deleted, such as "30d"."""

    store: StorePlace
    older: str
    as_json: bool


def add_delete_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `gallery delete` to `parser`."""
    add_store_option(parser)
    parser.add_argument("--person", metavar="NAME", help="rows of this person")
    parser.add_argument("--image", metavar="FILE", help="rows of this image: its path, or its sha256")
    parser.add_argument("--id", type=int, metavar="N", help="the row with this number")
    parser.add_argument("--camera", type=camera_number, metavar="N", help="rows of this camera (0-based)")
    parser.add_argument(
        "--before", metavar="TIME", help="rows before this time, such as 2026-11-01T00:00:00Z"
    )


def add_expire_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `gallery expire` to `parser`."""
    add_store_option(parser)
    parser.add_argument(
        "--older", required=True, metavar="AGE", help="delete rows older than this: 90m, 12h, 30d or 4w"
    )


def delete(args: Namespace) -> None:
    """Run the command `gallery delete` with the parsed arguments `args`."""
    options = DeleteOptions(args.store, args.person, args.image, args.id, args.camera, args.before, args.json)
    run_delete(options)


def expire(args: Namespace) -> None:
    """Run the command `gallery expire` with the parsed arguments `args`."""
    run_expire(ExpireOptions(args.store, args.older, args.json))


def run_delete(options: DeleteOptions) -> None:
    """Delete the rows, and print their number."""
    from runtime import open_gallery
    from runtime.cli.notes import print_result

    with open_gallery(options.store) as gallery:
        deleted = gallery.delete(
            person=options.person,
            image=options.image,
            id=options.id,
            camera=options.camera,
            before=options.before,
        )
        rows = len(gallery)
    result = {"store": str(options.store), "deleted": deleted, "rows": rows}
    print_result("gallery", result, as_json=options.as_json)


def run_expire(options: ExpireOptions) -> None:
    """Delete the old rows, and print their number."""
    from runtime import console, open_gallery
    from runtime.cli.notes import print_result
    from runtime.gallery.times import duration

    with open_gallery(options.store) as gallery:
        deleted = gallery.expire(duration(options.older))
        content = gallery.info()
    if content.timeless:
        console.note(f"{content.timeless} rows have no time, so they never expire")
    result = {"store": str(options.store), "deleted": deleted, "rows": content.rows}
    print_result("gallery", result, as_json=options.as_json)
