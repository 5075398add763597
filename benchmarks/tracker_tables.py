"""Format the results of `make integrations-check` as Markdown tables. Each function takes one parsed JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.labels import interval_text
from benchmarks.table_rows import Document, table

# The variants of a tracker's tracks -> what they are.
VARIANTS = {
    "own": "its own crops",
    "ours": "our crops",
    "default": "our crops, default threshold",
    "none": "no features",
}


def trackers(document: Document) -> str:
    """Return the table of the trackers: their versions, whether they see our features, and the quality of their tracks."""
    rows = []
    for name, result in document["trackers"].items():
        pixels = result.get("same_pixels") or result.get("carried")
        compared = (result.get("same_tracks") or {}).values()
        boxes, numbers = (sum(clip[key] for clip in compared) for key in ("boxes", "tracks"))
        same = sum(clip["same"] for clip in compared)
        scores = result.get("identity", {})
        cells = [name, result["versions"][name], f"{pixels['lowest_cosine']:.7f} ({pixels['boxes']:,})"]
        cells.append(
            f"{same} of {len(compared)} videos ({boxes:,} boxes, {numbers} tracks)" if compared else "-"
        )
        rows.append([*cells, *(_identity(scores.get(variant)) for variant in VARIANTS)])
    names = ["tracker", "version", "lowest cosine (boxes)", "same track ids"]
    return table([*names, *(f"IDF1 / switches: {text}" for text in VARIANTS.values())], rows)


def tracker_crops(document: Document) -> str:
    """Return the table of the mAP that a tracker's own crops cost, on every data set and on the rendered sequence."""
    rows = []
    for data, costs in document["crop_cost"].items():
        for name, cost in costs.items():
            gain = {key: cost[other] / 100 for key, other in GAIN.items()}
            shown = [_percent(cost[key]) for key in ("ours", "tracker")]
            size = f"{cost['people']} people, {cost['queries']} x {cost['gallery']}"
            rows.append([data, size, name, *shown, interval_text(gain), _percent(cost["mixed"])])
    for name, result in document["trackers"].items():
        if "ours" in (found := result.get("retrieval", {})):
            shown = [_percent(found[key]) for key in ("ours", "tracker")]
            size = f"{found['people']} people, {found['boxes']} boxes"
            points = f"{100 * (found['tracker'] - found['ours']):+.1f}"
            rows.append([f"{document['sequence']}, in its frames", size, name, *shown, points, "-"])
    names = ["images", "size", "tracker", "mAP, our crops", "mAP, its crops", "difference (95 %)"]
    return table([*names, "its queries, our gallery"], rows)


GAIN = {"difference": "gain", "low": "low", "high": "high"}


def tracker_speed(document: Document) -> str:
    """Return the table of the frames a second of BoxMOT's own way from boxes to features, and of ours."""
    rows = []
    for name, result in document["trackers"].items():
        if speed := result.get("speed"):
            rates = [f"{1000 / speed[key]:.1f}" for key in ("own_ms", "ours_ms")]
            ratios = [f"{speed[key]:.2f}" for key in ("ratio", "cpu_ratio")]
            rows.append([name, f"{speed['people']:.1f}", *rates, *ratios])
    names = ["tracker", "people a frame", "its own way, frames/s", "`embed_boxes`, frames/s", "times as fast"]
    return table([*names, "by CPU time"], rows)


def tracker_thresholds(document: Document) -> str:
    """Return the table of IDF1 and identity switches for each threshold of the trackers that compare features at any distance."""
    columns: dict[str, dict[float, Mapping[str, Any]]] = {}
    for name, found in document["trackers"].items():
        if all(len(row["settings"]) == 1 for row in found):
            ((setting, _),) = found[0]["settings"].items()
            columns[f"{name}, `{setting}`"] = {row["settings"][setting]: row for row in found}
    values = sorted({value for scores in columns.values() for value in scores})
    rows = [
        [f"{value:g}", *(_identity(scores.get(value)) for scores in columns.values())] for value in values
    ]
    return table(["threshold", *(f"IDF1 / switches: {name}" for name in columns)], rows)


def tracker_gates(document: Document) -> str:
    """Return the table of the lowest and highest IDF1 and switches of BoT-SORT for each `proximity_thresh`.

    A range is over all values of `appearance_thresh` that were tried with it.
    """
    rows = []
    for name, found in document["trackers"].items():
        for value in sorted({row["settings"]["proximity_thresh"] for row in found}):
            group = [row for row in found if row["settings"]["proximity_thresh"] == value]
            scores, switches = ([row[key] for row in group] for key in ("idf1", "switches"))
            tried = sorted(row["settings"]["appearance_thresh"] for row in group)
            cells = [name, f"{value:g}", f"{tried[0]:g} .. {tried[-1]:g}"]
            cells += [f"{100 * min(scores):.1f} .. {100 * max(scores):.1f}"]
            rows.append([*cells, f"{min(switches)} .. {max(switches)}"])
    return table(["tracker", "`proximity_thresh`", "`appearance_thresh`", "IDF1", "switches"], rows)


def _identity(score: Mapping[str, Any] | None) -> str:
    return "-" if score is None else f"{100 * score['idf1']:.1f} / {score['switches']}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
