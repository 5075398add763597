"""What pays beyond AMG, as the README's table, from a beyond.json alone. Plain Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.labels import interval_text

NAMES = ("method", "level", "GMAC", "mAP", "R1", "mAP untuned", "% of the teacher's time")
AGAINST = ("mAP over AMG (95 %)", "times as fast", "mAP over AMG h25/t25 (95 %)", "times as fast")


def markdown(document: Mapping[str, Any]) -> str:
    """Mean and standard deviation of the seeds in percent; intervals are over queries; a * where AMG's cost cannot be met."""
    rows = []
    for one in document["groups"]:
        macs = f"{one['macs_folded']['mean'] / 1e9:.4f}{'' if one['equal_budget'] else ' *'}"
        level = one["level"].replace("_", "/") or "-"
        cells = [
            one["words"],
            level + (", one seed" if one["level"] and len(one["seeds"]) == 1 else ""),
            macs,
        ]
        cells += [_spread(one.get(key)) for key in ("mAP", "R1", "untuned", "of_teacher")]
        for key in ("against_amg", "against_mild_amg"):
            against = one.get(key)
            cells += [interval_text(against) or "-", f"{against['speed']:.2f}" if against else "-"]
        rows.append(cells)
    lines = [[*NAMES, *AGAINST], ["---"] * len(NAMES + AGAINST), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _spread(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    error = "" if found["sd"] is None else f" ± {100 * found['sd']:.1f}"
    return f"{100 * found['mean']:.1f}{error}"
