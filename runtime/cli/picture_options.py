"""The options `--picture`, `--picture-queries` and `--picture-top`, for an HTML page that shows rankings."""

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
    """The HTML file `path` to write, and what it shows: at most `queries` queries, each with its `top` nearest gallery images."""

    path: Path
    queries: int = QUERIES
    top: int = TOP


def add_picture_options(parser: ArgumentParser) -> None:
    """Add the options `--picture`, `--picture-queries` and `--picture-top` to `parser`."""
    parser.add_argument(
        "--picture", metavar="FILE.html", help="also write a page that shows queries and their nearest images"
    )
    parser.add_argument(
        "--picture-queries",
        type=positive_integer,
        metavar="N",
        help=f"the largest number of queries on the page (default: {QUERIES})",
    )
    parser.add_argument(
        "--picture-top",
        type=positive_integer,
        metavar="N",
        help=f"gallery images beside each query (default: {TOP})",
    )


def picture_options(args: Namespace) -> PictureOptions | None:
    """Return the parsed options of the page; None if none of the three options is given.

    Raises ConfigError if `--picture-queries` or `--picture-top` is given without `--picture`, and for a file name without the suffix
    .html or .htm. Raises StorageError for a folder in which no file can be written. Call it before the extraction, so that these
    errors appear before any work is done.
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
        raise ConfigError(
            f"--picture {path}: is a folder; name a file in it, such as {path / 'ranking.html'}"
        )
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(f"{path}: cannot write in {folder}; choose another place for --picture")
    return PictureOptions(path, args.picture_queries or QUERIES, args.picture_top or TOP)
