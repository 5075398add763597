"""`--picture`, `--picture-queries` and `--picture-top`: which picture of rankings a command line asks for."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigError, StorageError
from runtime.options.argument_types import positive_integer

QUERIES, TOP = 40, 10
SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class PictureOptions:
    """Where the page goes, how many queries it shows at most, and how many gallery images of each."""

    path: Path
    queries: int = QUERIES
    top: int = TOP


def add_picture_options(parser: ArgumentParser) -> None:
    """`--picture`, `--picture-queries` and `--picture-top`, for `picture_options`."""
    parser.add_argument(
        "--picture", metavar="FILE.html", help="also write a page that shows queries and their nearest images"
    )
    parser.add_argument(
        "--picture-queries",
        type=positive_integer,
        metavar="N",
        help=f"queries on that page at most ({QUERIES})",
    )
    parser.add_argument(
        "--picture-top", type=positive_integer, metavar="N", help=f"gallery images beside each query ({TOP})"
    )


def picture_options(args: Namespace) -> PictureOptions | None:
    """What the parsed arguments ask for, or None without `--picture`.

    ConfigError for another kind of file, or for an option that has no effect; StorageError for a place that
    cannot be written, so that nobody waits for a page that is lost.
    """
    if args.picture is None:
        for option in ("picture_queries", "picture_top"):
            if getattr(args, option) is not None:
                name = "--" + option.replace("_", "-")
                raise ConfigError(f"{name} has no effect without a picture; add --picture FILE.html")
        return None
    path = Path(args.picture)
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--picture {path}: the picture is an HTML page; try {path.with_suffix('.html')}")
    if path.is_dir():
        raise ConfigError(f"--picture {path}: a folder; name a file in it, such as {path / 'ranking.html'}")
    folder = next(place for place in path.absolute().parents if os.path.lexists(place))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(f"{path}: cannot write in {folder}; choose another place for --picture")
    return PictureOptions(path, args.picture_queries or QUERIES, args.picture_top or TOP)
