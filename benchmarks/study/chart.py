"""The result of a study as one self-contained SVG file: a panel per level, a row per method and a dot per seed."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.study.plan import BUDGET, LEVELS, METHODS, TEACHER, TUNED, UNPRUNED
from benchmarks.svg import Axis, nice_axis

WIDTH, NAMES, RIGHT, TOP, ROW = 900, 290, 150, 74, 26
LEGEND = "dots: seeds; bar: their mean; dashed line: teacher; band: fine-tuned teacher; *: above the budget"
STYLE = (
    "text{font:13px ui-sans-serif,system-ui,'Segoe UI',Roboto,Arial,sans-serif;fill:#1b1f24}"
    ".soft{fill:#5d6670;font-size:12px}.title{font-weight:650;font-size:15px}.end{text-anchor:end}"
    ".mid{text-anchor:middle}.page{fill:#fff}.grid{stroke:#e2e3de}.teacher{stroke:#3b6fb6;stroke-dasharray:5 4}"
    ".tuned{fill:#3b6fb6;fill-opacity:.13}.dot{fill:#8b949e;fill-opacity:.75}.mean{stroke:#1b1f24;stroke-width:2.4}"
    ".amg .dot{fill:#0b7a75}.amg text{font-weight:650}"
    "@media(prefers-color-scheme:dark){text{fill:#e7e9ea}.soft{fill:#9aa4ad}.page{fill:#121518}.grid{stroke:#2b3137}"
    ".teacher{stroke:#7fb0f0}.tuned{fill:#7fb0f0}.dot{fill:#9aa4ad}.mean{stroke:#e7e9ea}.amg .dot{fill:#4cc9c0}}"
)


def chart(result: Mapping[str, Any]) -> str:
    """Return the SVG of a result: the mAP on the occluded queries.

    A dashed line marks the teacher, and a band the range of the fine-tuned teacher.
    """
    groups = {(group["method"], group["level"]): group for group in result["groups"]}
    scores = [score for group in groups.values() for score in group["query"]["mAP"]["values"]]
    axis = nice_axis(scores, NAMES, WIDTH - RIGHT, margin=0.08)
    parts, y = [], TOP
    for level in LEVELS:
        rows = [groups[name, level] for name in METHODS if (name, level) in groups]
        if rows:
            parts.append(_panel(rows, groups, axis, y, _level_title(level)))
            y += ROW * len(rows) + 84
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y - 20}" role="img" '
        f'aria-label="mAP of pruning methods at equal cost"><style>{STYLE}</style>'
        f'<rect class="page" width="{WIDTH}" height="{y - 20}"/>'
        + _text(16, 26, "mAP of pruning methods at equal multiply-adds", "title")
        + _text(16, 46, f"{result['label']}; {LEGEND}", "soft")
        + "".join(parts)
        + "</svg>\n"
    )


def _panel(
    rows: Sequence[Mapping[str, Any]],
    groups: Mapping[tuple[str, str], Mapping[str, Any]],
    axis: Axis,
    top: float,
    title: str,
) -> str:
    base = top + ROW * len(rows) + 8
    parts = [_text(16, top, title, "title")]
    top += 8
    for tick in axis.ticks:
        x = axis.at(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{base + 8}"/>')
        parts.append(_text(x, base + 24, f"{100 * tick:g} %", "soft mid"))
    parts.append(_references(groups, axis, top, base + 8))
    for number, group in enumerate(rows):
        parts.append(_row(group, axis, top + ROW * (number + 0.5) + 4))
    return "".join(parts)


def _references(
    groups: Mapping[tuple[str, str], Mapping[str, Any]], axis: Axis, top: float, base: float
) -> str:
    parts = ""
    if tuned := groups.get((TUNED, "")):
        values = [axis.at(value) for value in tuned["query"]["mAP"]["values"]]
        width = max(max(values) - min(values), 2)
        tip = f"<title>{UNPRUNED[TUNED]}: {100 * tuned['query']['mAP']['mean']:.1f} %</title>"
        parts += f'<rect class="tuned" x="{min(values):.1f}" y="{top}" width="{width:.1f}" height="{base - top:.1f}">{tip}</rect>'
    if teacher := groups.get((TEACHER, "")):
        value = teacher["query"]["mAP"]["mean"]
        parts += f'<path class="teacher" d="M{axis.at(value):.1f} {top}V{base}"/>'
        parts += _text(WIDTH - RIGHT + 10, top, f"- - teacher {100 * value:.1f} %", "soft")
    return parts


def _row(group: Mapping[str, Any], axis: Axis, y: float) -> str:
    score, mark = group["query"]["mAP"], "" if group["equal_budget"] else " *"
    dots = "".join(
        f'<circle class="dot" cx="{axis.at(value):.1f}" cy="{y:.1f}" r="5"><title>seed {seed}: {100 * value:.1f} %</title></circle>'
        for seed, value in zip(group["seeds"], score["values"])
    )
    deviation = "" if score["sd"] is None else f" ± {100 * score['sd']:.1f}"
    middle = axis.at(score["mean"])
    return (
        f'<g class="{"amg" if group["method"] == BUDGET else "other"}">'
        + _text(NAMES - 14, y + 4, METHODS[group["method"]].title + mark, "end")
        + dots
        + f'<path class="mean" d="M{middle:.1f} {y - 9:.1f}v18"/>'
        + _text(WIDTH - RIGHT + 10, y + 4, f"{100 * score['mean']:.1f}{deviation} %", "")
        + "</g>"
    )


def _level_title(level: str) -> str:
    heads, tokens = LEVELS[level]
    return f"At the cost of AMG with {heads:.0%} of the heads and {tokens:.0%} of the tokens removed"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'
