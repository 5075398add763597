"""Axes of hand-drawn SVG figures. Plain numbers in, plain numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """A linear scale: values low..high onto pixels start..end, with round tick values."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def nice_axis(
    values: Sequence[float], start: float, end: float, *, margin: float, top: float = math.inf
) -> Axis:
    """An axis around `values` (>= 0), at most 0..`top`, whose ticks are 1, 2 or 5 times a power of ten apart.

    `margin` is the room on both sides as a part of the values' range; it ends at the next tick.
    """
    low, high = min(values), max(values)
    room = max((high - low) * margin, abs(high) * 0.02, 1e-9)
    low, high = max(low - room, 0.0), min(high + room, top)
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(round(low / step, 9)), math.ceil(round(high / step, 9))
    ticks = tuple(round(count * step, 10) for count in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], start, end, ticks)
