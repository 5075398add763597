"""Functions that parse the values of command-line options, for the `type` of an argparse argument.

argparse turns an ArgumentTypeError into a usage message and exit code 2.
"""

from __future__ import annotations

from argparse import ArgumentTypeError

from runtime.errors import ConfigError


def positive_integer(text: str) -> int:
    """Return the whole number of 1 or more that `text` states. Raises ArgumentTypeError for any other text."""
    try:
        value = int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a whole number; give 1 or more") from None
    if value < 1:
        raise ArgumentTypeError(f"{value} is too small; give 1 or more")
    return value


def count(text: str) -> int:
    """Return the whole number of 0 or more that `text` states. Raises ArgumentTypeError for any other text."""
    if not (text.isascii() and text.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def positive_integers(text: str) -> tuple[int, ...]:
    """Return the whole numbers of 1 or more in a comma-separated list. Raises ArgumentTypeError for any other text."""
    return tuple(positive_integer(part) for part in text.split(","))


def batch_sizes(text: str) -> tuple[int, ...]:
    """Return the batch sizes in a `--batch` value, such as 1,8, without repeats. Raises ConfigError for any other text."""
    try:
        return tuple(dict.fromkeys(positive_integers(text)))
    except ArgumentTypeError:
        raise ConfigError(f"--batch {text}: give batch sizes of 1 or more, such as 1,8") from None


def names(text: str) -> tuple[str, ...]:
    """Return the words of a comma-separated list: "a,b" -> ("a", "b")."""
    return tuple(text.split(","))


def width_and_height(text: str) -> tuple[int, int]:
    """Return (width, height) in pixels of a text such as "960x540". Raises ArgumentTypeError for any other text."""
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdecimal() and len(side) <= 5 for side in sides):
        raise ArgumentTypeError(f"{text!r}: give a width and a height in pixels, such as 960x540")
    return int(sides[0]), int(sides[1])


def seconds(text: str) -> float:
    """Return the finite number of more than 0 seconds that `text` states. Raises ArgumentTypeError for any other text."""
    value = _number(text, "give a number of seconds above 0")
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"{text} is not allowed; give a finite number of seconds above 0")
    return value


def fraction(text: str) -> float:
    """Return the number from 0 to 1 that `text` states. Raises ArgumentTypeError for any other text."""
    value = _number(text, "give a fraction from 0 to 1")
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text} is not allowed; give a fraction from 0 to 1")
    return value


def camera_policy(text: str) -> str | int:
    """Return the policy in a `--camera` value: "input", "mean", "none" or a 0-based camera id. Raises ConfigError for other text."""
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
