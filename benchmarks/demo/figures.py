"""Draw the figures of the demo's report as SVG elements for an HTML page, whose style sheet gives them their colours."""

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
    """One model in the chart of mAP against latency.

    `p50_ms` is its median latency, `precision` its mAP (0..1), and `detail` the text below its name.
    """

    name: str
    p50_ms: float
    precision: float
    detail: str


def token_map(
    image: str, *, size: tuple[int, int], stride: int, tokens: Collection[int] | None, title: str
) -> str:
    """Return an SVG element that shows an image with a cover over the patches whose tokens a block does not keep.

    `image` is a data URI, and `size` the (height, width) of the model's input. `tokens` are the ids of the kept tokens in the unpruned
    model, where 0 is the class token; None means all tokens. Patches have 16 x 16 pixels and begin every `stride` pixels, so they may
    overlap. Each patch is drawn as the pixels that are nearer to its centre than to the centre of any other patch.
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
    """Return (start, end) in pixels of the area in which each of `count` patches is drawn, along a side of `length` pixels.

    The border between two areas is halfway between the centres of the patches, which are `stride` pixels apart.
    """
    borders = [0.0, *(number * stride + (PATCH - stride) / 2 for number in range(1, count)), float(length)]
    return list(zip(borders, borders[1:]))


def accuracy_by_visibility(occluded: Mapping[str, Sequence[Group]], unoccluded: Mapping[str, Group]) -> str:
    """Return an SVG chart of mAP against the visible part of the person, with a line for each model and bars of one standard error.

    `occluded` maps the name of a model to its scores for groups of queries with a similar visible part. All models have the same
    groups. `unoccluded` maps the name of a model to its score on the same queries, rendered with nothing in front. This score is drawn
    at the right of the groups.
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
    """Return an SVG chart of mAP against median latency, with a dot for each model. A dotted line joins the dots in their order."""
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
        # Labels 0 and 3 stand above their dots, and the others below. Dots 0 and 1, the plain and the folded form, have the same mAP.
        # Label 1 begins at its dot, so that it does not cross the line to dot 2.
        first, kind = (y - 30 if number in (0, 3) else y + 24), ("start" if number == 1 else "mid")
        low, high = (LEFT, WIDTH - RIGHT - 130) if kind == "start" else (LEFT + 65, WIDTH - RIGHT - 65)
        inside = min(max(x, low), high)
        parts.append(svg.text(inside, first, point.name, f"name {kind} {point.name}"))
        parts.append(svg.text(inside, first + 15, point.detail, f"small {kind}"))
    return _svg("".join(parts), "mAP against median latency of the models")


def head_dots(kept: int, total: int) -> str:
    """Return an SVG element with `total` dots, one for each attention head of a block, of which the first `kept` are filled."""
    dots = "".join(svg.dot(head * 9 + 5, 5, 3, kind="on" if head < kept else "off") for head in range(total))
    width, label = total * 9 + 1, f"{kept} of {total} heads"
    # With a given size, the figure shrinks on a narrow page, but it does not grow on a wide one.
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
