"""mAP against latency of several devices as one SVG file that needs nothing else: plain strings out of plain numbers."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from benchmarks.svg import nice_axis

WIDTH, HEIGHT = 900, 560
LEFT, RIGHT, TOP, BOTTOM, LEGEND_ROW = 74, 40, 78, 62, 24
# Okabe and Ito's colours, which nobody confuses; a shape each besides
COLOURS = ("#0b7a75", "#c65102", "#3b6fb6", "#9a4f96", "#a67c00", "#5d6670")
SHAPES = (
    "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z",
    "M-5.5-5.5h11v11h-11z",
    "M0-7.5L7 5.5H-7z",
    "M0-7.5L7.5 0L0 7.5L-7.5 0z",
)
LETTER, LINE = 7.3, 16.0
# letters of a label beside its point, of a line of the legend, and of the smaller line under the title
LABEL, LEGEND, SUBTITLE = 28, 105, 120
STYLE = (
    "text{font:13px ui-sans-serif,system-ui,'Segoe UI',Roboto,Arial,sans-serif;fill:#1b1f24}"
    ".soft{fill:#5d6670;font-size:12px}.title{font-weight:650;font-size:15px}.end{text-anchor:end}"
    ".mid{text-anchor:middle}.page{fill:#fff}.grid{stroke:#e2e3de}.road{fill:none;stroke-opacity:.35;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#e7e9ea}.soft{fill:#9aa4ad}.page{fill:#121518}.grid{stroke:#2b3137}}"
)


class Point(NamedTuple):
    """One model on one device: median ms of a call, mAP in 0..1."""

    device: str
    model: str
    p50_ms: float
    precision: float


class Box(NamedTuple):
    """A rectangle that holds a label or a point."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two share any of their area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class LogAxis(NamedTuple):
    """A logarithmic scale: low..high onto pixels start..end, with ticks at 1, 2 and 5 times powers of ten."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """The pixel of a value."""
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + part * (self.end - self.start)


def log_axis(values: Sequence[float], start: float, end: float) -> LogAxis:
    """An axis around `values` (> 0) that ends at a tick on both sides, with at least 15 % of room."""
    low, high = min(values) / 1.15, max(values) * 1.15
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    marks = [round(factor * 10.0**power, 9) for power in powers for factor in (1, 2, 5)]
    first, last = max(mark for mark in marks if mark <= low), min(mark for mark in marks if mark >= high)
    return LogAxis(first, last, start, end, tuple(mark for mark in marks if first <= mark <= last))


def picture(points: Sequence[Point], subtitle: str) -> str:
    """The SVG: a colour and shape for each device, a label at each point; up and to the left is better."""
    devices = list(dict.fromkeys(point.device for point in points))
    shown = short_names(list(dict.fromkeys(point.model for point in points)))
    # numbers stand for names that do not fit beside a point
    numbered = [] if shown is not None else list(dict.fromkeys(point.model for point in points))
    height = HEIGHT + LEGEND_ROW * (len(devices) + len(numbered))
    across = log_axis([point.p50_ms for point in points], LEFT, WIDTH - RIGHT)
    up = nice_axis([point.precision for point in points], HEIGHT - BOTTOM, TOP, margin=0.15, top=1.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="mAP against latency of {len(devices)} devices"><style>{STYLE}</style>'
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        _text(16, 26, "mAP against latency", "title"),
        _text(16, 46, shorten(subtitle, SUBTITLE), "soft"),
    ]
    for tick in across.ticks:
        x = across.at(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{tick:g}", "soft mid"))
    for tick in up.ticks:
        y = up.at(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{100 * tick:g} %", "soft end"))
    parts.append(
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 40, "median ms a call (logarithmic)", "soft mid")
    )
    places = [(across.at(point.p50_ms), up.at(point.precision)) for point in points]
    for number, device in enumerate(devices):
        own = sorted(place for place, point in zip(places, points) if point.device == device)
        road = "L".join(f"{x:.1f} {y:.1f}" for x, y in own)
        parts.append(f'<path class="road" stroke="{COLOURS[number % len(COLOURS)]}" d="M{road}"/>')
    for place, point in zip(places, points):
        tip = f"{point.device}, {point.model}: {point.p50_ms:.3g} ms, mAP {100 * point.precision:.1f} %"
        parts.append(_mark(*place, devices.index(point.device), tip))
    names = [shown[point.model] if shown else str(1 + numbered.index(point.model)) for point in points]
    parts += [_text(x, y, name, kind) for (x, y, kind), name in zip(_labels(places, names), names)]
    for number, device in enumerate(devices):
        y = HEIGHT + LEGEND_ROW * number
        parts += [_mark(LEFT, y, number, device), _text(LEFT + 16, y + 4, shorten(device, LEGEND), "")]
    for number, model in enumerate(numbered):
        y = HEIGHT + LEGEND_ROW * (len(devices) + number) + 4
        parts += [_text(LEFT, y, str(1 + number), "mid"), _text(LEFT + 16, y, shorten(model, LEGEND), "")]
    return "".join(parts) + "</svg>\n"


def short_names(names: Sequence[str]) -> dict[str, str] | None:
    """Name -> what fits beside a point, without the words that all names begin or end with; None where one is too long."""
    parts = [re.split(r"(?<=[_.-])", name) for name in names]
    ends = [re.split(r"(?=[_.-])", name)[::-1] for name in names]
    first, last = (len("".join(_common(words))) for words in (parts, ends))
    if max(map(len, names)) <= LABEL:
        return {name: name for name in names}
    # one letter has to be left of the shortest
    if len(names) == 1 or first + last >= min(map(len, names)):
        return None
    found = {name: f"{'…' * (first > 0)}{name[first : len(name) - last]}{'…' * (last > 0)}" for name in names}
    return found if max(map(len, found.values())) <= LABEL else None


def _common(lists: Sequence[Sequence[str]]) -> list[str]:
    """The words that all of the lists begin with."""
    together = zip(*lists)
    return [words[0] for words in takewhile(lambda words: len(set(words)) == 1, together)]


def shorten(text: str, letters: int) -> str:
    """At most so many letters, those of the middle left out: names differ at their ends."""
    if len(text) <= letters:
        return text
    end = letters // 2
    return f"{text[: letters - end - 1]}…{text[-end:]}"


def _labels(places: Sequence[tuple[float, float]], names: Sequence[str]) -> list[tuple[float, float, str]]:
    """(x, y, class) of every label: beside its point, where it meets no other label and no point."""
    taken = [Box(x - 8, y - 8, x + 8, y + 8) for x, y in places]
    found = []
    for (x, y), name in zip(places, names):
        width = LETTER * len(name)
        options = [
            (x + 12, y + 4, "", Box(x + 12, y - 8, x + 12 + width, y + 8)),
            (x - 12, y + 4, "end", Box(x - 12 - width, y - 8, x - 12, y + 8)),
        ]
        for step in (1, 2, 3, 4):
            for away in (-14 - LINE * (step - 1), 22 + LINE * (step - 1)):
                box = Box(x - width / 2, y + away - 12, x + width / 2, y + away + 4)
                options.append((x, y + away, "mid", box))
        inside = [one for one in options if one[3].left >= LEFT and one[3].right <= WIDTH - 12]
        free = [one for one in inside if not any(one[3].meets(box) for box in taken)]
        # where everything is taken, the least bad is the usual place
        left, top, kind, box = (free or inside or options)[0]
        taken.append(box)
        found.append((left, top, kind))
    return found


def _mark(x: float, y: float, number: int, tip: str) -> str:
    shape, colour = SHAPES[number % len(SHAPES)], COLOURS[number % len(COLOURS)]
    return (
        f'<path d="{shape}" fill="{colour}" transform="translate({x:.1f} {y:.1f})">'
        f"<title>{html.escape(tip)}</title></path>"
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'
