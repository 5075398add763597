"""Draw the result of a study as one self-contained SVG file.

It has a panel for each pruning level (fractions of heads and tokens), a row for each method and a dot for each seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import svg
from benchmarks.study.plan import BUDGET, LEVELS, METHODS, TEACHER, TUNED, UNPRUNED
from benchmarks.svg import Axis, nice_axis

WIDTH, NAMES, RIGHT, TOP, ROW = 900, 290, 150, 74, 26
LEGEND = "dots: seeds; bar: their mean; dashed line: teacher; band: fine-tuned teacher; *: above the budget"
STYLE = svg.sheet(
    ".teacher{stroke:#3b6fb6;stroke-dasharray:5 4}.tuned{fill:#3b6fb6;fill-opacity:.13}.dot{fill:#8b949e;fill-opacity:.75}"
    ".mean{stroke:#1b1f24;stroke-width:2.4}.amg .dot{fill:#0b7a75}.amg text{font-weight:650}",
    ".teacher{stroke:#7fb0f0}.tuned{fill:#7fb0f0}.dot{fill:#9aa4ad}.mean{stroke:#e7e9ea}.amg .dot{fill:#4cc9c0}",
)


def chart(result: Mapping[str, Any]) -> str:
    """Return a chart of the mAP on the occluded queries as the text of an SVG file. `result` is the content of a study's result.json.

    A dashed line marks the mAP of the teacher. A band marks the range over the seeds of the mAP of the fine-tuned teacher.
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
    header = [
        svg.text(16, 26, "mAP of pruning methods at equal multiply-adds", "title"),
        svg.text(16, 46, f"{result['label']}; {LEGEND}", "soft"),
    ]
    label = "mAP of pruning methods at equal cost"
    return svg.figure([*header, *parts], width=WIDTH, height=y - 20, label=label, style=STYLE)


def _panel(
    rows: Sequence[Mapping[str, Any]],
    groups: Mapping[tuple[str, str], Mapping[str, Any]],
    axis: Axis,
    top: float,
    title: str,
) -> str:
    base = top + ROW * len(rows) + 8
    parts = [svg.text(16, top, title, "title")]
    top += 8
    for tick in axis.ticks:
        x = axis.at(tick)
        parts.append(svg.upright(x, top, base + 8))
        parts.append(svg.text(x, base + 24, f"{100 * tick:g} %", "soft mid"))
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
        tip = svg.tip(f"{UNPRUNED[TUNED]}: {100 * tuned['query']['mAP']['mean']:.1f} %")
        height = float(base - top)
        parts += svg.element("rect", tip, kind="tuned", x=min(values), y=top, width=width, height=height)
    if teacher := groups.get((TEACHER, "")):
        value = teacher["query"]["mAP"]["mean"]
        parts += svg.upright(axis.at(value), top, base, "teacher")
        parts += svg.text(WIDTH - RIGHT + 10, top, f"- - teacher {100 * value:.1f} %", "soft")
    return parts


def _row(group: Mapping[str, Any], axis: Axis, y: float) -> str:
    score, mark = group["query"]["mAP"], "" if group["equal_budget"] else " *"
    dots = "".join(
        svg.dot(axis.at(value), y, 5, f"seed {seed}: {100 * value:.1f} %", kind="dot")
        for seed, value in zip(group["seeds"], score["values"])
    )
    deviation = "" if score["sd"] is None else f" ± {100 * score['sd']:.1f}"
    parts = [
        svg.text(NAMES - 14, y + 4, METHODS[group["method"]].title + mark, "end"),
        dots,
        svg.path(f"M{axis.at(score['mean']):.1f} {y - 9:.1f}v18", kind="mean"),
        svg.text(WIDTH - RIGHT + 10, y + 4, f"{100 * score['mean']:.1f}{deviation} %"),
    ]
    return svg.element("g", "".join(parts), kind="amg" if group["method"] == BUDGET else "other")


def _level_title(level: str) -> str:
    heads, tokens = LEVELS[level]
    return f"At the cost of AMG with {heads:.0%} of the heads and {tokens:.0%} of the tokens removed"
