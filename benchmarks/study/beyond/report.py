"""Format the result of `benchmarks.study.beyond`, a beyond.json, as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.labels import interval_text

NAMES = ("method", "level", "GMAC", "mAP", "R1", "mAP before tuning", "% of the teacher's time")
AGAINST = (
    "mAP over AMG (95 %)",
    "times as fast as AMG",
    "mAP over AMG h25/t25 (95 %)",
    "times as fast as AMG h25/t25",
)


def markdown(document: Mapping[str, Any]) -> str:
    """Return the content of a beyond.json, `document`, as a Markdown table with a row for each method and level.

    Scores are the mean and standard deviation over the seeds, in percent. Differences in mAP from AMG have 95 % intervals, from a
    bootstrap over the queries. A * marks methods that cannot meet AMG's cost.
    """
    rows = []
    for group in document["groups"]:
        macs = f"{group['macs_folded']['mean'] / 1e9:.4f}{'' if group['equal_budget'] else ' *'}"
        level = group["level"].replace("_", "/") or "-"
        cells = [
            group["words"],
            level + (", one seed" if group["level"] and len(group["seeds"]) == 1 else ""),
            macs,
        ]
        cells += [_spread(group.get(key)) for key in ("mAP", "R1", "untuned", "of_teacher")]
        for key in ("against_amg", "against_mild_amg"):
            comparison = group.get(key)
            cells += [interval_text(comparison) or "-", f"{comparison['speed']:.2f}" if comparison else "-"]
        rows.append(cells)
    lines = [[*NAMES, *AGAINST], ["---"] * len(NAMES + AGAINST), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _spread(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "-"
    deviation = "" if score["sd"] is None else f" ± {100 * score['sd']:.1f}"
    return f"{100 * score['mean']:.1f}{deviation}"
