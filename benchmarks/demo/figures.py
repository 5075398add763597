"""Draw the demo's figures as inline SVG. Their colours come from CSS classes of the page."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import svg
from benchmarks.stats.precisions import Group
from benchmarks.svg import Axis, nice_axis

PATCH = 16
WIDTH, HEIGHT = 520, 342
LEFT, RIGHT, TOP, BOTTOM = 64, 18, 34, 62


@dataclass(frozen=True)
class LatencyPoint:
    """One model in the scatter chart: its median latency, its mAP in 0..1, and the second line of its label."""

    name: str
    p50_ms: float
    precision: float
    detail: str


def token_map(
    image: str, *, size: tuple[int, int], stride: int, tokens: Collection[int] | None, title: str
) -> str:
    """Return an image on which the patches that a block drops are covered.

    `image` is a data URI, `size` the (height, width) of the model's input, and `tokens` the kept ids before pruning (0 is the
    class token, None means all). Patches of 16 pixels overlap if `stride` is smaller. Each patch is drawn as a cell: the pixels
    that are nearer to its centre than to the centre of any other patch.
    """
    height, width = size
    rows, columns = (height - PATCH) // stride + 1, (width - PATCH) // stride + 1
    down, across = patch_cells(rows, stride, height), patch_cells(columns, stride, width)
    dropped: list[str] = []
    kept: list[str] = []
    for number in range(rows * columns):
        (top, bottom), (left, right) = down[number // columns], across[number % columns]
        box = f"M{left:g} {top:g}H{right:g}V{bottom:g}H{left:g}z"
        (kept if tokens is None or number + 1 in tokens else dropped).append(box)
    shown = svg.element("image", href=image, width=width, height=height, preserveAspectRatio="none")
    inside = shown + svg.path("".join(kept), kind="cell") + svg.path("".join(dropped), kind="veil")
    return svg.inline(inside, kind="map", width=width, height=height, label=title)


def patch_cells(count: int, stride: int, length: int) -> list[tuple[float, float]]:
    """Return (start, end) in pixels of the cells of `count` patches along one side; borders are halfway between centres."""
    borders = [0.0, *(number * stride + (PATCH - stride) / 2 for number in range(1, count)), float(length)]
    return list(zip(borders, borders[1:]))


def accuracy_by_visibility(occluded: Mapping[str, Sequence[Group]], unoccluded: Mapping[str, Group]) -> str:
    """Draw mAP over the visible share of the person, one line per model, and the unoccluded pairs at the right.

    `occluded` maps a model's name to its groups by visible share, which are the same for all models. `unoccluded` maps it to the
    scores of the same queries with nothing in front. Bars are one standard error.
    """
    groups = next(iter(occluded.values()))
    columns = len(groups) + 1
    step = (WIDTH - LEFT - RIGHT) / columns
    ends = [
        edge
        for name, model_groups in occluded.items()
        for group in [*model_groups, unoccluded[name]]
        for edge in (group.precision - _known(group.error), group.precision + _known(group.error))
    ]
    axis = nice_axis([min(ends), max(ends)], HEIGHT - BOTTOM, TOP, margin=0.02, top=1)
    break_at = LEFT + step * len(groups)
    parts = [_grid(axis), svg.text(LEFT - 8, 14, "mAP", "axis end")]
    height = HEIGHT - BOTTOM - TOP + 8
    parts.append(svg.element("rect", kind="band", x=break_at, y=TOP - 8, width=step, height=height, rx=6))
    for number, group in enumerate([*groups, unoccluded[next(iter(occluded))]]):
        middle = LEFT + step * (number + 0.5)
        label = f"{100 * group.low:g}–{100 * group.high:g} %" if number < len(groups) else "100 %"
        parts.append(svg.text(middle, HEIGHT - BOTTOM + 18, label, "tick mid"))
        parts.append(svg.text(middle, HEIGHT - BOTTOM + 33, f"n = {group.queries}", "small mid"))
    parts.append(svg.text((LEFT + break_at) / 2, HEIGHT - 8, "visible share of the person", "axis mid"))
    parts.append(svg.text(break_at + step / 2, HEIGHT - 8, "unoccluded", "axis mid"))
    for place, (name, model_groups) in enumerate(occluded.items()):
        # Side by side, so that the bars of two models do not hide each other.
        shift = (place - (len(occluded) - 1) / 2) * 14
        positions = [
            (LEFT + step * (i + 0.5) + shift, axis.at(g.precision)) for i, g in enumerate(model_groups)
        ]
        parts.append(svg.path(svg.joined(positions), kind=f"line {name}"))
        last_group = unoccluded[name]
        last = (break_at + step / 2 + shift, axis.at(last_group.precision))
        for (x, y), group in zip([*positions, last], [*model_groups, last_group]):
            reach = abs(axis.at(group.precision + _known(group.error)) - y)
            tip = f"{name}: mAP {group.precision:.1%}, {group.queries} queries"
            parts.append(svg.upright(x, y - reach, y + reach, f"bar {name}"))
            parts.append(_dot(x, y, name, tip))
    return _svg("".join(parts), "mAP against the visible share of the person")


def accuracy_by_latency(points: Sequence[LatencyPoint]) -> str:
    """Draw mAP over median latency, one dot per model; up and to the left is better."""
    across = nice_axis([point.p50_ms for point in points], LEFT, WIDTH - RIGHT, margin=0.35)
    up = nice_axis([point.precision for point in points], HEIGHT - BOTTOM, TOP, margin=0.5, top=1)
    base = HEIGHT - BOTTOM
    parts = [_grid(up), svg.text(LEFT - 8, 14, "mAP", "axis end")]
    for tick in across.ticks:
        parts.append(svg.upright(across.at(tick), base, base + 5))
        parts.append(svg.text(across.at(tick), base + 18, f"{tick:g}", "tick mid"))
    parts.append(
        svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, "median latency of one image, ms", "axis mid")
    )
    places = [(across.at(point.p50_ms), up.at(point.precision)) for point in points]
    parts.append(svg.path(svg.joined(places), kind="trail"))
    for number, (point, (x, y)) in enumerate(zip(points, places)):
        parts.append(_dot(x, y, point.name, f"{point.name}: {point.detail}"))
        # Labels 0 and 3 stand above their dots, the others below. The plain and the folded form have the same mAP, so label 1
        # stands at the right of its dot, away from the line to the third dot.
        first, kind = (y - 30 if number in (0, 3) else y + 24), ("start" if number == 1 else "mid")
        low, high = (LEFT, WIDTH - RIGHT - 130) if kind == "start" else (LEFT + 65, WIDTH - RIGHT - 65)
        inside = min(max(x, low), high)
        parts.append(svg.text(inside, first, point.name, f"name {kind} {point.name}"))
        parts.append(svg.text(inside, first + 15, point.detail, f"small {kind}"))
    return _svg("".join(parts), "mAP against median latency of the models")


def head_dots(kept: int, total: int) -> str:
    """Draw one dot per attention head; the dots of kept heads are filled."""
    dots = "".join(svg.dot(head * 9 + 5, 5, 3, kind="on" if head < kept else "off") for head in range(total))
    width, label = total * 9 + 1, f"{kept} of {total} heads"
    # The size is given: on a narrow page the figure shrinks, and on a wide one it does not grow.
    return svg.element(
        "svg",
        dots,
        kind="heads",
        viewBox=f"0 0 {width} 10",
        width=width,
        height=10,
        role="img",
        aria_label=label,
    )


def _grid(axis: Axis) -> str:
    lines = "".join(svg.level(axis.at(tick), LEFT, WIDTH - RIGHT) for tick in axis.ticks)
    digits = 0 if all(abs(tick * 100 - round(tick * 100)) < 1e-6 for tick in axis.ticks) else 1
    labels = (svg.text(LEFT - 8, axis.at(t) + 4, f"{t * 100:.{digits}f} %", "tick end") for t in axis.ticks)
    return lines + "".join(labels)


def _known(error: float) -> float:
    return 0.0 if math.isnan(error) else error


def _dot(x: float, y: float, name: str, tip: str) -> str:
    return svg.dot(x, y, 5.5, tip, kind=f"dot {name}")


def _svg(inside: str, title: str) -> str:
    return svg.inline(inside, kind="chart", width=WIDTH, height=HEIGHT, label=title)
