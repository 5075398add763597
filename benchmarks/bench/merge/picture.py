"""Draw mAP against latency of several devices as one self-contained SVG file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from benchmarks import svg
from benchmarks.svg import log_axis, nice_axis

WIDTH, HEIGHT = 900, 560
LEFT, RIGHT, TOP, BOTTOM, LEGEND_ROW = 74, 40, 78, 62, 24
# Colours after Okabe and Ito, which colour-blind people can tell apart. Each device also gets its own shape.
COLOURS = ("#0b7a75", "#c65102", "#3b6fb6", "#9a4f96", "#a67c00", "#5d6670")
SHAPES = (
    "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z",
    "M-5.5-5.5h11v11h-11z",
    "M0-7.5L7 5.5H-7z",
    "M0-7.5L7.5 0L0 7.5L-7.5 0z",
)
LETTER, LINE = 7.3, 16.0
# The most letters of a label beside its point, of a line in the legend, and of the line under the title.
LABEL, LEGEND, SUBTITLE = 28, 105, 120
STYLE = svg.sheet(".road{fill:none;stroke-opacity:.35;stroke-width:1.5}")


class Point(NamedTuple):
    """One model on one device: its median time per call, `p50_ms`, in ms, and its mAP (0..1), `precision`."""

    device: str
    model: str
    p50_ms: float
    precision: float


class Box(NamedTuple):
    """A rectangle around a label or a point, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Return whether the two rectangles overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def picture(points: Sequence[Point], subtitle: str) -> str:
    """Return a picture of mAP against latency as the text of an SVG file. `subtitle` is the line below its title.

    Each device has a colour and a shape, and each point has the name of its model as a label. If a name is too long for a label, all
    points have numbers instead, which a legend explains.
    """
    devices = list(dict.fromkeys(point.device for point in points))
    shown = short_names(list(dict.fromkeys(point.model for point in points)))
    # If a name does not fit beside its point, numbers stand for all names.
    numbered = [] if shown is not None else list(dict.fromkeys(point.model for point in points))
    height = HEIGHT + LEGEND_ROW * (len(devices) + len(numbered))
    across = log_axis([point.p50_ms for point in points], LEFT, WIDTH - RIGHT)
    up = nice_axis([point.precision for point in points], HEIGHT - BOTTOM, TOP, margin=0.15, top=1.0)
    base, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [
        svg.text(16, 26, "mAP against latency", "title"),
        svg.text(16, 46, shorten(subtitle, SUBTITLE), "soft"),
        *svg.grid(across, up, svg.Plot(LEFT, TOP, right, base)),
        svg.text((LEFT + right) / 2, base + 40, "median ms per call (logarithmic)", "soft mid"),
    ]
    positions = [(across.at(point.p50_ms), up.at(point.precision)) for point in points]
    for number, device in enumerate(devices):
        own = sorted(position for position, point in zip(positions, points) if point.device == device)
        parts.append(svg.path(svg.joined(own), kind="road", stroke=COLOURS[number % len(COLOURS)]))
    for position, point in zip(positions, points):
        tip = f"{point.device}, {point.model}: {point.p50_ms:.3g} ms, mAP {100 * point.precision:.1f} %"
        parts.append(_mark(*position, devices.index(point.device), tip))
    names = [shown[point.model] if shown else str(1 + numbered.index(point.model)) for point in points]
    parts += [svg.text(x, y, name, kind) for (x, y, kind), name in zip(_labels(positions, names), names)]
    for number, device in enumerate(devices):
        y = HEIGHT + LEGEND_ROW * number
        parts += [_mark(LEFT, y, number, device), svg.text(LEFT + 16, y + 4, shorten(device, LEGEND))]
    for number, model in enumerate(numbered):
        y = HEIGHT + LEGEND_ROW * (len(devices) + number) + 4
        parts += [svg.text(LEFT, y, str(1 + number), "mid"), svg.text(LEFT + 16, y, shorten(model, LEGEND))]
    label = f"mAP against latency of {len(devices)} devices"
    return svg.figure(parts, width=WIDTH, height=height, label=label, style=STYLE)


def short_names(names: Sequence[str]) -> dict[str, str] | None:
    """Return a label of at most 28 letters for the name of each model, {name: label}, or None if that is not possible.

    If no name is longer, each name is its own label. Otherwise, the words with which all names begin, and those with which all names
    end, are replaced by an ellipsis in every label. The result is None if a label is still too long, if nothing would be left of the
    shortest name, or if there is only one name.
    """
    parts = [re.split(r"(?<=[_.-])", name) for name in names]
    ends = [re.split(r"(?=[_.-])", name)[::-1] for name in names]
    first, last = (len("".join(_common(words))) for words in (parts, ends))
    if max(map(len, names)) <= LABEL:
        return {name: name for name in names}
    # The shortest name must keep at least one letter.
    if len(names) == 1 or first + last >= min(map(len, names)):
        return None
    shortened = {
        name: f"{'…' * (first > 0)}{name[first : len(name) - last]}{'…' * (last > 0)}" for name in names
    }
    return shortened if max(map(len, shortened.values())) <= LABEL else None


def _common(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return the words with which all of the lists begin."""
    columns = zip(*lists)
    return [words[0] for words in takewhile(lambda words: len(set(words)) == 1, columns)]


def shorten(text: str, letters: int) -> str:
    """Return `text` in at most `letters` letters. An ellipsis replaces the middle of a longer text."""
    if len(text) <= letters:
        return text
    end = letters // 2
    return f"{text[: letters - end - 1]}…{text[-end:]}"


def _labels(positions: Sequence[tuple[float, float]], names: Sequence[str]) -> list[tuple[float, float, str]]:
    """Return (x, y, CSS class) for each label. If possible, a label stands near its point and overlaps no other label or point."""
    taken = [Box(x - 8, y - 8, x + 8, y + 8) for x, y in positions]
    labels = []
    for (x, y), name in zip(positions, names):
        width = LETTER * len(name)
        options = [
            (x + 12, y + 4, "", Box(x + 12, y - 8, x + 12 + width, y + 8)),
            (x - 12, y + 4, "end", Box(x - 12 - width, y - 8, x - 12, y + 8)),
        ]
        for step in (1, 2, 3, 4):
            for away in (-14 - LINE * (step - 1), 22 + LINE * (step - 1)):
                box = Box(x - width / 2, y + away - 12, x + width / 2, y + away + 4)
                options.append((x, y + away, "mid", box))
        inside = [option for option in options if option[3].left >= LEFT and option[3].right <= WIDTH - 12]
        free = [option for option in inside if not any(option[3].meets(box) for box in taken)]
        # If every place is taken, the label stands at the first place in the picture, and overlaps something.
        left, top, kind, box = (free or inside or options)[0]
        taken.append(box)
        labels.append((left, top, kind))
    return labels


def _mark(x: float, y: float, number: int, words: str) -> str:
    shape, colour = SHAPES[number % len(SHAPES)], COLOURS[number % len(COLOURS)]
    place = f"translate({x:.1f} {y:.1f})"
    return svg.element("path", svg.tip(words), d=shape, fill=colour, transform=place)
