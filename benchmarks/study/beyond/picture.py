"""mAP against measured latency of every way to prune, as one SVG file that needs nothing else. Plain strings out of plain numbers."""

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
# of methods out of a search.json, in their order there
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
class Spot:
    """One method at one level: its seeds' (ms, mAP) after fine-tuning, and its mean mAP before it."""

    ms: tuple[float, ...]
    precision: tuple[float, ...]
    untuned: float | None = None


def spots(result: Mapping[str, Any], search: Mapping[str, Any] | None) -> dict[str, tuple[str, list[Spot]]]:
    """Method -> (words, a spot per level), milliseconds on the teacher's scale of `result`.

    Of a search.json, groups that are called the same up to their last comma are one method; AMG is here already.
    """
    whole = result["teacher_ms"]
    found: dict[str, tuple[str, list[Spot]]] = {}
    for one in result["groups"]:
        shares = one["of_teacher"]["values"] if "of_teacher" in one else [1.0]
        ms = tuple(share * whole for share in shares)
        untuned = one["untuned"]["mean"] if "untuned" in one else None
        found.setdefault(one["method"], (one["words"], []))[1].append(
            Spot(ms, tuple(one["mAP"]["values"]), untuned)
        )
    for one in search["groups"] if search else []:
        if not one["name"].startswith("AMG"):
            assert search is not None
            ms = tuple(run["measured_ms"] / search["whole_ms"] * whole for run in one["runs"])
            spot = Spot(ms, tuple(run["mAP"] for run in one["runs"]))
            name = one["name"].rpartition(",")[0] or one["name"]
            found.setdefault(name, (name, []))[1].append(spot)
    return found


def picture(result: Mapping[str, Any], search: Mapping[str, Any] | None = None) -> str:
    """The SVG of a beyond.json, with the points of a search.json where there is one."""
    methods = spots(result, search)
    every = [spot for _, mine in methods.values() for spot in mine]
    top = 74 + ROW * ((len(methods) + 1) // 2)
    base = top + PLOT
    across = nice_axis([ms for spot in every for ms in spot.ms], LEFT, WIDTH - RIGHT, margin=0.05)
    # random pruning lies far below: it must not squeeze the others together
    near = [spot for method, (_, mine) in methods.items() for spot in mine if method != "random"]
    known = [value for spot in near for value in (*spot.precision, spot.untuned) if value is not None]
    up = nice_axis(known, base, top, margin=0.05, top=1.0)
    parts = []
    for tick in across.ticks:
        parts.append(f'<path class="grid" d="M{across.at(tick):.1f} {top}V{base}"/>')
        parts.append(_text(across.at(tick), base + 18, f"{tick:g}", "soft mid"))
    for tick in up.ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {up.at(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, up.at(tick) + 4, f"{100 * tick:g} %", "soft end"))
    searched = iter(SEARCHED)
    for index, (method, (name, mine)) in enumerate(methods.items()):
        colour = COLOURS.get(method) or next(searched, SEARCHED[-1])
        x, y = LEFT + 390 * (index % 2), 74 + ROW * (index // 2)
        parts.append(f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{colour}"/>' + _text(x + 12, y, name))
        inside = [spot for spot in mine if mean(spot.precision) >= up.low]
        parts += _drawn(inside, across.at, up.at, colour)
        parts += [_below(spot, across.at, base, colour) for spot in mine if spot not in inside]
    height = base + BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="mAP against latency of every way to prune"><style>{STYLE}</style>'
        f'<rect class="page" width="{WIDTH}" height="{height}"/>'
        + _text(16, 26, "mAP against measured latency, every way to prune", "title")
        + _text(
            16,
            46,
            f"{result['label']}, the demo model; dots: seeds, squares: their means, rings: before fine-tuning",
            "soft",
        )
        + "".join(parts)
        + _text(
            (LEFT + WIDTH) / 2, base + 40, "CPU ms a picture: ONNX Runtime, batch 1, one thread", "soft mid"
        )
        + "</svg>\n"
    )


def _drawn(spots: Sequence[Spot], across: Any, up: Any, colour: str) -> list[str]:
    parts, way = [], []
    for spot in spots:
        x, y = across(mean(spot.ms)), up(mean(spot.precision))
        way.append(f"{x:.1f} {y:.1f}")
        for ms, precision in zip(spot.ms, spot.precision, strict=True):
            tip = html.escape(f"{100 * precision:.1f} %, {ms:.2f} ms")
            parts.append(
                f'<circle cx="{across(ms):.1f}" cy="{up(precision):.1f}" r="3.5" fill="{colour}" fill-opacity=".55">'
                f"<title>{tip}</title></circle>"
            )
        parts.append(f'<path fill="{colour}" d="M{x - 5:.1f} {y - 5:.1f}h10v10h-10z"/>')
        if spot.untuned is not None:
            ring = f'cx="{x:.1f}" cy="{up(spot.untuned):.1f}" r="5" fill="none" stroke="{colour}" stroke-width="1.8"'
            parts.append(f"<circle {ring}/>")
    if len(way) > 1:
        parts.insert(0, f'<path class="way" stroke="{colour}" d="M{"L".join(way)}"/>')
    return parts


def _below(spot: Spot, across: Any, base: float, colour: str) -> str:
    """An arrow down at the lower edge, with the mAP in words, for a spot below the scale."""
    x = across(mean(spot.ms))
    arrow = f'<path fill="{colour}" d="M{x - 6:.1f} {base - 13}h12l-6 10z"/>'
    return arrow + _text(x + 10, base - 5, f"{100 * mean(spot.precision):.1f} %", "soft")


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'
