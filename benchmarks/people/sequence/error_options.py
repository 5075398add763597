"""The options for errors of detections, which two commands share."""

from __future__ import annotations

import argparse

from runtime.options.argument_types import fraction


def add_error_options(parser: argparse.ArgumentParser) -> None:
    """Add --missed, --shifted and --false-boxes to a parser."""
    errors = parser.add_argument_group("errors of the detections", "the exact boxes stay as they are")
    errors.add_argument(
        "--missed", type=fraction, default=0.0, help="fraction of the boxes left out (default: 0)"
    )
    errors.add_argument(
        "--shifted", type=fraction, default=0.0, help="fraction of the boxes moved and resized (default: 0)"
    )
    errors.add_argument(
        "--false-boxes",
        type=float,
        default=0.0,
        metavar="NUMBER",
        help="mean number of boxes in a frame that show nobody in particular (default: 0)",
    )
