"""Build SVG figures as text: their elements, their axes and their common style."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

FONT = "13px ui-sans-serif,system-ui,'Segoe UI',Roboto,Arial,sans-serif"


@dataclass(frozen=True)
class Axis:
    """A linear axis, which maps values from `low` to `high` to pixels from `start` to `end`. `ticks` are round values."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """The pixel coordinate at which `value` is drawn."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


class LogAxis(NamedTuple):
    """A logarithmic axis, which maps values from `low` to `high` to pixels from `start` to `end`.

    `ticks` are 1, 2 and 5 times powers of ten.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """The pixel coordinate at which `value` is drawn."""
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + part * (self.end - self.start)


class Scale(Protocol):
    """An axis of either kind, `Axis` or `LogAxis`."""

    @property
    def ticks(self) -> tuple[float, ...]:
        """The values that have a tick."""

    def at(self, value: float) -> float:
        """The pixel coordinate at which `value` is drawn."""


class Plot(NamedTuple):
    """The rectangle that the axes span, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


def nice_axis(
    values: Sequence[float], start: float, end: float, *, margin: float, top: float = math.inf
) -> Axis:
    """Return a linear axis from `start` to `end` (pixels) that shows all `values` (>= 0) and begins and ends at a tick.

    The ticks are 1, 2 or 5 times a power of ten apart. The axis extends beyond the values on both sides by at least `margin` times
    their range, within two limits. It never begins below 0. It ends less than one tick interval above `top`, the largest possible
    value.
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


def log_axis(values: Sequence[float], start: float, end: float) -> LogAxis:
    """Return a logarithmic axis from `start` to `end` (pixels) that shows all `values` (> 0) and begins and ends at a tick.

    The axis reaches at least 15 % below the lowest and above the highest value.
    """
    low, high = min(values) / 1.15, max(values) * 1.15
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    marks = [round(factor * 10.0**power, 9) for power in powers for factor in (1, 2, 5)]
    first, last = max(mark for mark in marks if mark <= low), min(mark for mark in marks if mark >= high)
    return LogAxis(first, last, start, end, tuple(mark for mark in marks if first <= mark <= last))


def figure(parts: Sequence[str], *, width: float, height: float, label: str, style: str) -> str:
    """Return the text of a self-contained SVG file with the SVG elements `parts`.

    `width` and `height` are in pixels, `label` describes the figure for screen readers, and `style` is the result of `sheet`.
    """
    page = element("rect", kind="page", width=width, height=height)
    inside = f"<style>{style}</style>{page}{''.join(parts)}"
    namespace = "http://www.w3.org/2000/svg"
    return f'<svg xmlns="{namespace}" {_view(width, height, label)}>{inside}</svg>\n'


def inline(inside: str, *, kind: str, width: float, height: float, label: str) -> str:
    """Return an <svg> element of the CSS class `kind` for an HTML page, which contains the SVG elements `inside`.

    `width` and `height` are in pixels, and `label` describes the figure for screen readers.
    """
    return f'<svg class="{kind}" {_view(width, height, label)}>{inside}</svg>'


def sheet(light: str = "", dark: str = "") -> str:
    """Return the CSS of a figure: the rules that all figures share, then the rules `light`. In dark mode, `dark` also applies."""
    return (
        f"text{{font:{FONT};fill:#1b1f24}}.soft{{fill:#5d6670;font-size:12px}}.title{{font-weight:650;font-size:15px}}"
        f".mid{{text-anchor:middle}}.end{{text-anchor:end}}.page{{fill:#fff}}.grid{{stroke:#e2e3de}}{light}"
        "@media(prefers-color-scheme:dark){text{fill:#e7e9ea}.soft{fill:#9aa4ad}.page{fill:#121518}.grid{stroke:#2b3137}"
        f"{dark}}}"
    )


def element(name: str, inside: str = "", *, kind: str = "", **attributes: object) -> str:
    """Return the SVG element `<name class="kind" ...>inside</name>`.

    `kind` is its CSS class, and `inside` its content, which is already escaped. A keyword argument `font_size=1.0` becomes the
    attribute `font-size="1.0"`. Floats are written with one decimal.
    """
    words = {"class": kind} if kind else {}
    words |= {key.replace("_", "-"): _value(value) for key, value in attributes.items()}
    start = " ".join([f"<{name}", *(f'{key}="{value}"' for key, value in words.items())])
    return f"{start}>{inside}</{name}>" if inside else f"{start}/>"


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Return an element that shows the text `words` at the pixel (`x`, `y`). `kind` is its CSS class."""
    return element("text", html.escape(words), kind=kind, x=float(x), y=float(y))


def tip(words: str) -> str:
    """Return a tooltip with the text `words`, to be put inside an element. Without words, return an empty string."""
    return f"<title>{html.escape(words)}</title>" if words else ""


def dot(x: float, y: float, radius: float, words: str = "", *, kind: str = "", **attributes: str) -> str:
    """Return a circle around the pixel (`x`, `y`), with the tooltip `words`, the CSS class `kind` and further `attributes`."""
    return element("circle", tip(words), kind=kind, cx=float(x), cy=float(y), r=f"{radius:g}", **attributes)


def path(way: str, *, kind: str = "", **attributes: str) -> str:
    """Return a line or a shape whose outline is the SVG path data `way`, with the CSS class `kind` and further `attributes`."""
    return element("path", kind=kind, d=way, **attributes)


def joined(places: Sequence[tuple[float, float]]) -> str:
    """Return the SVG path data of straight lines that join the pixels (x, y) in `places`."""
    return f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in places)}"


def upright(x: float, top: float, bottom: float, kind: str = "grid") -> str:
    """Return a vertical line at the pixel column `x`, from `top` to `bottom`. `kind` is its CSS class."""
    return path(f"M{x:.1f} {_value(top)}V{_value(bottom)}", kind=kind)


def level(y: float, left: float, right: float, kind: str = "grid") -> str:
    """Return a horizontal line at the pixel row `y`, from `left` to `right`. `kind` is its CSS class."""
    return path(f"M{_value(left)} {y:.1f}H{_value(right)}", kind=kind)


def grid(across: Scale, up: Scale, plot: Plot) -> list[str]:
    """Return the SVG elements of the grid lines and tick labels of the horizontal axis `across` and the vertical axis `up`.

    The labels below `plot` are the tick values. The labels on the left are percentages, for tick values in 0..1.
    """
    parts = []
    for tick in across.ticks:
        parts.append(upright(across.at(tick), plot.top, plot.bottom))
        parts.append(text(across.at(tick), plot.bottom + 18, f"{tick:g}", "soft mid"))
    for tick in up.ticks:
        parts.append(level(up.at(tick), plot.left, plot.right))
        parts.append(text(plot.left - 8, up.at(tick) + 4, f"{100 * tick:g} %", "soft end"))
    return parts


def _view(width: float, height: float, label: str) -> str:
    return f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(label)}"'


def _value(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
