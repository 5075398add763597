"""Draw mAP against measured latency for every way to prune, as one self-contained SVG file."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from benchmarks.study.plan import TEACHER
from benchmarks.svg import nice_axis

WIDTH, LEFT, RIGHT, BOTTOM, PLOT, ROW = 860, 74, 24, 62, 400, 22
STYLE = (
    "text{font:13px ui-sans-serif,system-ui,'Segoe UI',Roboto,Arial,sans-serif;fill:#1b1f24}.soft{fill:#5d6670;font-size:12px}"
    ".title{font-weight:650;font-size:15px}.mid{text-anchor:middle}.end{text-anchor:end}.page{fill:#fff}.grid{stroke:#e2e3de}"
    ".way{fill:none;stroke-width:1.6;stroke-opacity:.55}"
    "@media(prefers-color-scheme:dark){text{fill:#e7e9ea}.soft{fill:#9aa4ad}.page{fill:#121518}.grid{stroke:#2b3137}}"
)
# The colours of the methods of a search.json, in their order there.
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
    """One method at one level: the latency (ms) and mAP (0..1) of each seed after fine-tuning, and the mean mAP before it."""

    ms: tuple[float, ...]
    precision: tuple[float, ...]
    untuned: float | None = None


def chart_points(
    result: Mapping[str, Any], search: Mapping[str, Any] | None
) -> dict[str, tuple[str, list[ChartPoint]]]:
    """Return method -> (title, one point per level), with latencies scaled to the teacher's time in `result`.

    Groups of a search.json whose names agree up to the last comma are one method. Its AMG groups are left out, because `result`
    has them already.
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
    """Return the SVG of a beyond.json, with the points of a search.json if there is one."""
    methods = chart_points(result, search)
    all_points = [point for _, points in methods.values() for point in points]
    top = 74 + ROW * ((len(methods) + 1) // 2)
    base = top + PLOT
    across = nice_axis([ms for point in all_points for ms in point.ms], LEFT, WIDTH - RIGHT, margin=0.05)
    # Random pruning is far below the other methods. The scale leaves it out, so that their differences stay visible.
    scaled = [point for method, (_, points) in methods.items() for point in points if method != "random"]
    scores = [score for point in scaled for score in (*point.precision, point.untuned) if score is not None]
    up = nice_axis(scores, base, top, margin=0.05, top=1.0)
    parts = []
    for tick in across.ticks:
        parts.append(f'<path class="grid" d="M{across.at(tick):.1f} {top}V{base}"/>')
        parts.append(_text(across.at(tick), base + 18, f"{tick:g}", "soft mid"))
    for tick in up.ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {up.at(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, up.at(tick) + 4, f"{100 * tick:g} %", "soft end"))
    searched = iter(SEARCHED)
    for index, (method, (title, points)) in enumerate(methods.items()):
        colour = COLOURS.get(method) or next(searched, SEARCHED[-1])
        x, y = LEFT + 390 * (index % 2), 74 + ROW * (index // 2)
        parts.append(f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{colour}"/>' + _text(x + 12, y, title))
        inside = [point for point in points if mean(point.precision) >= up.low]
        parts += _drawn(inside, across.at, up.at, colour)
        parts += [_below(point, across.at, base, colour) for point in points if point not in inside]
    height = base + BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="mAP against latency for every way to prune"><style>{STYLE}</style>'
        f'<rect class="page" width="{WIDTH}" height="{height}"/>'
        + _text(16, 26, "mAP against measured latency for every way to prune", "title")
        + _text(
            16,
            46,
            f"{result['label']}, demo model; dots: seeds; squares: their means; rings: before fine-tuning",
            "soft",
        )
        + "".join(parts)
        + _text(
            (LEFT + WIDTH) / 2,
            base + 40,
            "CPU time per image in ms: ONNX Runtime, batch 1, one thread",
            "soft mid",
        )
        + "</svg>\n"
    )


def _drawn(points: Sequence[ChartPoint], across: Any, up: Any, colour: str) -> list[str]:
    parts, vertices = [], []
    for point in points:
        x, y = across(mean(point.ms)), up(mean(point.precision))
        vertices.append(f"{x:.1f} {y:.1f}")
        for ms, precision in zip(point.ms, point.precision, strict=True):
            tip = html.escape(f"{100 * precision:.1f} %, {ms:.2f} ms")
            parts.append(
                f'<circle cx="{across(ms):.1f}" cy="{up(precision):.1f}" r="3.5" fill="{colour}" fill-opacity=".55">'
                f"<title>{tip}</title></circle>"
            )
        parts.append(f'<path fill="{colour}" d="M{x - 5:.1f} {y - 5:.1f}h10v10h-10z"/>')
        if point.untuned is not None:
            ring = f'cx="{x:.1f}" cy="{up(point.untuned):.1f}" r="5" fill="none" stroke="{colour}" stroke-width="1.8"'
            parts.append(f"<circle {ring}/>")
    if len(vertices) > 1:
        parts.insert(0, f'<path class="way" stroke="{colour}" d="M{"L".join(vertices)}"/>')
    return parts


def _below(point: ChartPoint, across: Any, base: float, colour: str) -> str:
    """Return a downward arrow at the lower edge, labelled with the mAP, for a point below the scale."""
    x = across(mean(point.ms))
    arrow = f'<path fill="{colour}" d="M{x - 6:.1f} {base - 13}h12l-6 10z"/>'
    return arrow + _text(x + 10, base - 5, f"{100 * mean(point.precision):.1f} %", "soft")


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'
