"""Draw the mAP of groups of pruned models against their measured latency, as one SVG file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import svg
from benchmarks.svg import nice_axis

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 820, 430, 70, 66, 60
COLOURS = ("#0b7a75", "#3b6fb6", "#b45309", "#7c4d9e", "#8b949e", "#c2255c", "#5c940d", "#e0a458")


def picture(result: Mapping[str, Any]) -> str:
    """Return a chart of mAP against measured milliseconds as the text of an SVG file.

    `result` is the document that `benchmarks.experiments.search_report` writes. Each pruned model has a dot. The models of a group,
    which are pruned by the same method with different seeds, share a colour.
    """
    runs = [run for group in result["groups"] for run in group["runs"]]
    legend = TOP + 24 * ((len(result["groups"]) + 1) // 2)
    base = HEIGHT - BOTTOM
    across = nice_axis([run["measured_ms"] for run in runs], LEFT, WIDTH - 30, margin=0.12)
    up = nice_axis([run["mAP"] for run in runs], base, legend, margin=0.2)
    parts = [
        svg.text(16, 26, "mAP against measured latency", "title"),
        svg.text(16, 44, "synthetic people (Anny-ReID), one dot for each seed", "soft"),
        *svg.grid(across, up, svg.Plot(LEFT, legend - 8, WIDTH - 30, base)),
    ]
    for index, (group, colour) in enumerate(zip(result["groups"], COLOURS)):
        x, y = LEFT + 370 * (index % 2), TOP + 24 * (index // 2)
        parts += [svg.dot(x, y - 4, 5, fill=colour), svg.text(x + 12, y, group["name"])]
        for run in group["runs"]:
            words = f"{100 * run['mAP']:.1f} %, {run['measured_ms']:.2f} ms"
            place = across.at(run["measured_ms"]), up.at(run["mAP"])
            parts.append(svg.dot(*place, 6, words, fill=colour, fill_opacity=".75"))
    words = "ms per image: batch 1, one thread"
    parts.append(svg.text((LEFT + WIDTH) / 2, HEIGHT - 16, words, "soft mid"))
    return svg.figure(parts, width=WIDTH, height=HEIGHT, label="mAP against latency", style=svg.sheet())
