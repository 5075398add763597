"""Draw mAP against measured latency for each way to prune, as one self-contained SVG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from benchmarks import svg
from benchmarks.study.plan import TEACHER
from benchmarks.svg import nice_axis

WIDTH, LEFT, RIGHT, BOTTOM, PLOT, ROW = 860, 74, 24, 62, 400, 22
STYLE = svg.sheet(".way{fill:none;stroke-width:1.6;stroke-opacity:.55}")
# The colours of the methods in a search.json (see `benchmarks.experiments.search_report`), in the order in which they are listed.
SEARCHED = ("#7c4d9e", "#0598c8")
COLOURS = {
    TEACHER: "#6b7480",
    "amg": "#0b7a75",
    "random": "#b9bfc6",
    "mlp_even": "#e0a458",
    "mlp": "#d9660a",
    "tokens_mlp": "#c2255c",
    "mix": "#2f6fd0",
    "heads_mlp": "#8a6d3b",
    "blocks_tokens": "#5c940d",
    "blocks": "#a3c644",
}


@dataclass(frozen=True)
class ChartPoint:
    """The fine-tuned models of one method at one level, one for each seed: `ms` are their latencies, and `precision` their mAP (0..1).

    `untuned` is the mean of their mAP before fine-tuning, or None if it is unknown.
    """

    ms: tuple[float, ...]
    precision: tuple[float, ...]
    untuned: float | None = None


def chart_points(
    result: Mapping[str, Any], search: Mapping[str, Any] | None
) -> dict[str, tuple[str, list[ChartPoint]]]:
    """Return a dictionary that maps each method to (title, points), with one point for each pruning level.

    `result` is the content of a beyond.json. The key of each of its methods is the method's short name, such as "mix". `search` is
    the content of a file that `benchmarks.experiments.search_report` wrote, or None. Each group in it has the models of one method at
    one level, one for each seed, and a name "METHOD, LEVEL". For these methods, METHOD is both the key and the title. Groups of AMG
    are left out, because `result` has AMG. The latencies of `search` are scaled, so that its unpruned model has the latency of the
    teacher in `result`.
    """
    teacher_ms = result["teacher_ms"]
    methods: dict[str, tuple[str, list[ChartPoint]]] = {}
    for group in result["groups"]:
        shares = group["of_teacher"]["values"] if "of_teacher" in group else [1.0]
        ms = tuple(share * teacher_ms for share in shares)
        untuned = group["untuned"]["mean"] if "untuned" in group else None
        methods.setdefault(group["method"], (group["words"], []))[1].append(
            ChartPoint(ms, tuple(group["mAP"]["values"]), untuned)
        )
    for group in search["groups"] if search else []:
        if not group["name"].startswith("AMG"):
            assert search is not None
            ms = tuple(run["measured_ms"] / search["whole_ms"] * teacher_ms for run in group["runs"])
            point = ChartPoint(ms, tuple(run["mAP"] for run in group["runs"]))
            title = group["name"].rpartition(",")[0] or group["name"]
            methods.setdefault(title, (title, []))[1].append(point)
    return methods


def chart(result: Mapping[str, Any], search: Mapping[str, Any] | None = None) -> str:
    """Return a chart of mAP against latency as the text of an SVG file. `chart_points` describes `result` and `search`."""
    methods = chart_points(result, search)
    all_points = [point for _, points in methods.values() for point in points]
    top = 74 + ROW * ((len(methods) + 1) // 2)
    base = top + PLOT
    across = nice_axis([ms for point in all_points for ms in point.ms], LEFT, WIDTH - RIGHT, margin=0.05)
    # Random pruning is far below the other methods. The scale leaves it out, so that their differences stay visible.
    scaled = [point for method, (_, points) in methods.items() for point in points if method != "random"]
    scores = [score for point in scaled for score in (*point.precision, point.untuned) if score is not None]
    up = nice_axis(scores, base, top, margin=0.05, top=1.0)
    parts = svg.grid(across, up, svg.Plot(LEFT, top, WIDTH - RIGHT, base))
    searched = iter(SEARCHED)
    for index, (method, (title, points)) in enumerate(methods.items()):
        colour = COLOURS.get(method) or next(searched, SEARCHED[-1])
        x, y = LEFT + 390 * (index % 2), 74 + ROW * (index // 2)
        parts += [svg.dot(x, y - 4, 5, fill=colour), svg.text(x + 12, y, title)]
        inside = [point for point in points if mean(point.precision) >= up.low]
        parts += _drawn(inside, across.at, up.at, colour)
        parts += [_below(point, across.at, base, colour) for point in points if point not in inside]
    legend = (
        f"{result['label']}, model of data/demo; dots: seeds; squares: their means; rings: before fine-tuning"
    )
    header = [
        svg.text(16, 26, "mAP against measured latency for every way to prune", "title"),
        svg.text(16, 46, legend, "soft"),
    ]
    unit = "CPU time per image in ms: ONNX Runtime, batch 1, one thread"
    footer = svg.text((LEFT + WIDTH) / 2, base + 40, unit, "soft mid")
    label, height = "mAP against latency for every way to prune", base + BOTTOM
    return svg.figure([*header, *parts, footer], width=WIDTH, height=height, label=label, style=STYLE)


def _drawn(points: Sequence[ChartPoint], across: Any, up: Any, colour: str) -> list[str]:
    parts, vertices = [], []
    for point in points:
        x, y = across(mean(point.ms)), up(mean(point.precision))
        vertices.append((x, y))
        for ms, precision in zip(point.ms, point.precision, strict=True):
            tip = f"{100 * precision:.1f} %, {ms:.2f} ms"
            parts.append(svg.dot(across(ms), up(precision), 3.5, tip, fill=colour, fill_opacity=".55"))
        parts.append(svg.path(f"M{x - 5:.1f} {y - 5:.1f}h10v10h-10z", fill=colour))
        if point.untuned is not None:
            parts.append(svg.dot(x, up(point.untuned), 5, fill="none", stroke=colour, stroke_width="1.8"))
    if len(vertices) > 1:
        parts.insert(0, svg.path(svg.joined(vertices), kind="way", stroke=colour))
    return parts


def _below(point: ChartPoint, across: Any, base: float, colour: str) -> str:
    """Return a downward arrow at the lower edge, labelled with the mAP, for a point below the scale."""
    x = across(mean(point.ms))
    arrow = svg.path(f"M{x - 6:.1f} {base - 13}h12l-6 10z", fill=colour)
    return arrow + svg.text(x + 10, base - 5, f"{100 * mean(point.precision):.1f} %", "soft")
