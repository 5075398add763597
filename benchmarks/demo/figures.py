"""The demo's pictures as inline SVG: plain strings out of plain numbers. Colours are CSS classes of the page."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.stats.precisions import Group
from benchmarks.svg import Axis, nice_axis

PATCH = 16
WIDTH, HEIGHT = 520, 342
LEFT, RIGHT, TOP, BOTTOM = 64, 18, 34, 62


@dataclass(frozen=True)
class Spot:
    """One model in a scatter: its mAP in 0..1, and the label's second line."""

    name: str
    p50_ms: float
    precision: float
    detail: str


def token_map(
    picture: str, *, size: tuple[int, int], stride: int, tokens: Collection[int] | None, title: str
) -> str:
    """A picture with the patches that a block drops veiled.

    `picture` is a data URI, `size` its (height, width) in the model's pixels, `tokens` original ids (0 is the class token,
    None: all). Patches of 16 pixels overlap where `stride` is smaller; each is drawn as its own cell, the pixels nearer to
    its centre than to another's.
    """
    height, width = size
    rows, columns = (height - PATCH) // stride + 1, (width - PATCH) // stride + 1
    down, across = cells(rows, stride, height), cells(columns, stride, width)
    veiled: list[str] = []
    kept: list[str] = []
    for number in range(rows * columns):
        (top, bottom), (left, right) = down[number // columns], across[number % columns]
        box = f"M{left:g} {top:g}H{right:g}V{bottom:g}H{left:g}z"
        (kept if tokens is None or number + 1 in tokens else veiled).append(box)
    return (
        f'<svg class=map viewBox="0 0 {width} {height}" role=img aria-label="{html.escape(title)}">'
        f'<image href="{picture}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        f'<path class=cell d="{"".join(kept)}"/><path class=veil d="{"".join(veiled)}"/></svg>'
    )


def cells(count: int, stride: int, length: int) -> list[tuple[float, float]]:
    """(start, end) in pixels of `count` patches' cells along one side: borders half way between centres."""
    borders = [0.0, *(number * stride + (PATCH - stride) / 2 for number in range(1, count)), float(length)]
    return list(zip(borders, borders[1:]))


def accuracy_by_visibility(series: Mapping[str, Sequence[Group]], twins: Mapping[str, Group]) -> str:
    """mAP over the share of the person that is visible: a line per model, and its unoccluded twins on the right.

    Both map a model's name to groups; all models have the same groups. Bars are one standard error.
    """
    groups = next(iter(series.values()))
    columns = len(groups) + 1
    step = (WIDTH - LEFT - RIGHT) / columns
    ends = [
        edge
        for name, lines in series.items()
        for group in [*lines, twins[name]]
        for edge in (group.precision - _known(group.error), group.precision + _known(group.error))
    ]
    axis = nice_axis([min(ends), max(ends)], HEIGHT - BOTTOM, TOP, margin=0.02, top=1)
    break_at = LEFT + step * len(groups)
    parts = [_grid(axis), _text(LEFT - 8, 14, "mAP", "axis end")]
    parts.append(
        f'<rect class=band x="{break_at:.1f}" y="{TOP - 8}" width="{step:.1f}" height="{HEIGHT - BOTTOM - TOP + 8}" rx="6"/>'
    )
    for number, group in enumerate([*groups, twins[next(iter(series))]]):
        middle = LEFT + step * (number + 0.5)
        label = f"{100 * group.low:g}–{100 * group.high:g} %" if number < len(groups) else "100 %"
        parts.append(_text(middle, HEIGHT - BOTTOM + 18, label, "tick mid"))
        parts.append(_text(middle, HEIGHT - BOTTOM + 33, f"n = {group.queries}", "small mid"))
    parts.append(_text((LEFT + break_at) / 2, HEIGHT - 8, "share of the person that is visible", "axis mid"))
    parts.append(_text(break_at + step / 2, HEIGHT - 8, "their twins", "axis mid"))
    for place, (name, lines) in enumerate(series.items()):
        # side by side, so that the bars of two models never hide each other
        shift = (place - (len(series) - 1) / 2) * 14
        points = [(LEFT + step * (i + 0.5) + shift, axis.at(g.precision)) for i, g in enumerate(lines)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path class="line {name}" d="M{path}"/>')
        twin = twins[name]
        last = (break_at + step / 2 + shift, axis.at(twin.precision))
        for (x, y), group in zip([*points, last], [*lines, twin]):
            reach = abs(axis.at(group.precision + _known(group.error)) - y)
            tip = f"{name}: mAP {group.precision:.1%}, {group.queries} queries"
            parts.append(f'<path class="bar {name}" d="M{x:.1f} {y - reach:.1f}V{y + reach:.1f}"/>')
            parts.append(_dot(x, y, name, tip))
    return _svg("".join(parts), "mAP against the visible share of the person")


def accuracy_by_latency(spots: Sequence[Spot]) -> str:
    """mAP over median latency, a dot per model; up and to the left is better."""
    across = nice_axis([spot.p50_ms for spot in spots], LEFT, WIDTH - RIGHT, margin=0.35)
    up = nice_axis([spot.precision for spot in spots], HEIGHT - BOTTOM, TOP, margin=0.5, top=1)
    base = HEIGHT - BOTTOM
    parts = [_grid(up), _text(LEFT - 8, 14, "mAP", "axis end")]
    for tick in across.ticks:
        parts.append(f'<path class=grid d="M{across.at(tick):.1f} {base}v5"/>')
        parts.append(_text(across.at(tick), base + 18, f"{tick:g}", "tick mid"))
    parts.append(
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, "median latency of one picture, ms", "axis mid")
    )
    path = "L".join(f"{across.at(spot.p50_ms):.1f} {up.at(spot.precision):.1f}" for spot in spots)
    parts.append(f'<path class=trail d="M{path}"/>')
    for number, spot in enumerate(spots):
        x, y = across.at(spot.p50_ms), up.at(spot.precision)
        parts.append(_dot(x, y, spot.name, f"{spot.name}: {spot.detail}"))
        # The first above, the others below: the plain and the folded form share their height, and the second one's label
        # keeps to its right, away from the line to the third.
        first, kind = (y - 30 if number in (0, 3) else y + 24), ("start" if number == 1 else "mid")
        low, high = (LEFT, WIDTH - RIGHT - 130) if kind == "start" else (LEFT + 65, WIDTH - RIGHT - 65)
        inside = min(max(x, low), high)
        parts.append(_text(inside, first, spot.name, f"name {kind} {spot.name}"))
        parts.append(_text(inside, first + 15, spot.detail, f"small {kind}"))
    return _svg("".join(parts), "mAP against median latency of the models")


def head_dots(kept: int, total: int) -> str:
    """One dot per attention head, the kept ones filled."""
    dots = "".join(
        f'<circle class={"on" if head < kept else "off"} cx="{head * 9 + 5}" cy="5" r="3"/>'
        for head in range(total)
    )
    width = total * 9 + 1
    label = f"{kept} of {total} heads"
    return f'<svg class=heads viewBox="0 0 {width} 10" width="{width}" height="10" role=img aria-label="{label}">{dots}</svg>'


def _grid(axis: Axis) -> str:
    lines = "".join(f'<path class=grid d="M{LEFT} {axis.at(t):.1f}H{WIDTH - RIGHT}"/>' for t in axis.ticks)
    digits = 0 if all(abs(tick * 100 - round(tick * 100)) < 1e-6 for tick in axis.ticks) else 1
    labels = (_text(LEFT - 8, axis.at(t) + 4, f"{t * 100:.{digits}f} %", "tick end") for t in axis.ticks)
    return lines + "".join(labels)


def _known(error: float) -> float:
    return 0.0 if math.isnan(error) else error


def _dot(x: float, y: float, name: str, tip: str) -> str:
    return f'<circle class="dot {name}" cx="{x:.1f}" cy="{y:.1f}" r="5.5"><title>{html.escape(tip)}</title></circle>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'


def _svg(inside: str, title: str) -> str:
    return f'<svg class=chart viewBox="0 0 {WIDTH} {HEIGHT}" role=img aria-label="{html.escape(title)}">{inside}</svg>'
