"""The options that several commands of a gallery share."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.options.store_place import store_place

if TYPE_CHECKING:
    from runtime.gallery.lookup.filters import Filters


@dataclass(frozen=True)
class FilterOptions:
    """Which rows to use: those of `cameras`, at or after `since` and before `until` (ISO 8601). None uses all."""

    cameras: tuple[int, ...] | None
    since: str | None
    until: str | None

    def filters(self) -> Filters:
        """Return the filters. Raises ConfigError for a text that is no time."""
        from runtime.gallery.lookup.filters import Filters
        from runtime.gallery.times import microseconds

        since, until = (
            None if text is None else microseconds(text, name)
            for name, text in (("--since", self.since), ("--until", self.until))
        )
        return Filters(self.cameras, since, until)


def add_store_option(parser: ArgumentParser) -> None:
    """Add the options `--store` and `--json` to `parser`."""
    parser.add_argument(
        "--store",
        required=True,
        type=store_place,
        metavar="DIR",
        help="the folder of the gallery, or postgresql://USER@HOST/DATABASE for one on a server",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of a table")


def add_filter_options(parser: ArgumentParser) -> None:
    """Add the options `--cameras`, `--since` and `--until` to `parser`."""
    parser.add_argument(
        "--cameras",
        type=camera_numbers,
        metavar="C,...",
        help="only rows of these cameras (0-based numbers)",
    )
    parser.add_argument(
        "--since", metavar="TIME", help="only rows at or after this time, such as 2026-11-27T10:15:00Z"
    )
    parser.add_argument("--until", metavar="TIME", help="only rows before this time")


def filter_options(args: Namespace) -> FilterOptions:
    """Return the values of `--cameras`, `--since` and `--until` in the parsed `args`."""
    return FilterOptions(args.cameras, args.since, args.until)


def camera_number(text: str) -> int:
    """Return the 0-based camera number that `text` states. Raises ArgumentTypeError for any other text."""
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is no camera number; give 0 or more")
    return int(text)


def camera_numbers(text: str) -> tuple[int, ...]:
    """Return the camera numbers of a comma-separated list. Raises ArgumentTypeError for any other text."""
    return tuple(camera_number(part) for part in text.split(","))
