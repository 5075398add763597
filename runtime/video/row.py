"""`Row`, one box of a boxes file, and the checks of its fields."""

from __future__ import annotations

from typing import Any, NamedTuple

# The largest whole number of a field; every float up to it is exact.
LARGEST = 2**53


class Row(NamedTuple):
    """One box: its 0-based frame, x1, y1, x2, y2 in pixels, and what is known about it (a time in seconds; -1 is unknown)."""

    frame: int
    box: tuple[float, float, float, float]
    time: float = float("nan")
    camera: int = -1
    track: int = -1
    person: int = -1


class BadLine(ValueError):
    """A line of a boxes file that cannot be used. The text is the reason."""


class LeftOut(Exception):
    """A line of a boxes file that is valid, but describes no box to use. The text is the reason."""


def whole(value: Any, name: str, *, least: int = -1) -> int:
    """Return the whole number `value` of at least `least`; raise BadLine, with the `name` of the field, for anything else."""
    if is_number(value) and least <= value <= LARGEST and value == int(value):
        return int(value)
    raise BadLine(f"{name} is not a whole number from {least}")


def is_number(value: Any) -> bool:
    """Return whether `value` is a float, or an integer that a float can hold."""
    return type(value) is float or (type(value) is int and abs(value) <= LARGEST)
