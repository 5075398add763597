"""Functions that parse the values of command-line options, for the `type` of an argparse argument.

argparse turns an ArgumentTypeError into a usage message and exit code 2.
"""

from __future__ import annotations

from argparse import ArgumentTypeError

from runtime.errors import ConfigError


def positive_integer(text: str) -> int:
    """Parse a whole number of 1 or more."""
    try:
        value = int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a whole number; give 1 or more") from None
    if value < 1:
        raise ArgumentTypeError("give 1 or more")
    return value


def positive_integers(text: str) -> tuple[int, ...]:
    """Parse whole numbers of 1 or more, with commas between them."""
    return tuple(positive_integer(part) for part in text.split(","))


def batch_sizes(text: str) -> tuple[int, ...]:
    """Parse a `--batch` value of one or more sizes, such as 1,8, and drop repeats. Raises ConfigError for anything else."""
    try:
        return tuple(dict.fromkeys(positive_integers(text)))
    except ArgumentTypeError:
        raise ConfigError(f"--batch {text}: give sizes from 1, such as 1,8") from None


def names(text: str) -> tuple[str, ...]:
    """Split a comma-separated list into its words."""
    return tuple(text.split(","))


def seconds(text: str) -> float:
    """Parse a finite time of more than 0 seconds."""
    value = _number(text, "give more than 0 seconds")
    if not 0 < value < float("inf"):
        raise ArgumentTypeError("give more than 0 seconds")
    return value


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = _number(text, "give a fraction from 0 to 1")
    if not 0 <= value <= 1:
        raise ArgumentTypeError("give a fraction from 0 to 1")
    return value


def camera_policy(text: str) -> str | int:
    """Parse a `--camera` value: "input", "mean", "none" or a 0-based camera id. Raises ConfigError for anything else."""
    if text in ("input", "mean", "none"):
        return text
    if text.isascii() and text.isdigit():
        return int(text)
    raise ConfigError(f"--camera {text}: give input, mean, none or a camera id (0-based)")


def _number(text: str, advice: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number; {advice}") from None
