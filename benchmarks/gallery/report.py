"""Format the results of the gallery as Markdown tables. Each function takes one parsed JSON file and returns one table."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks.table_rows import Document, table

# What can be wrong with rows -> its name in a table.
FAULTS = {
    "lost": "lost",
    "undead": "back again",
    "double": "double",
    "damaged": "damaged",
    "half": "half done",
}


def ingest(document: Document) -> str:
    """Return the table of storing rows without a model."""
    names = [
        "numbers",
        "batch",
        "durable rows/s (median, best)",
        "µs of CPU a row",
        "metadata bytes a row",
        "size / raw numbers",
    ]
    rows = [
        [
            str(r["dim"]),
            str(r["batch"]),
            f"{r['rows_per_s']:,.0f}, {r['best_rows_per_s']:,.0f}",
            f"{r['cpu_us_per_row']:.0f}",
            f"{r['metadata_bytes_per_row']:.0f}",
            f"{r['against_raw']:.3f}",
        ]
        for r in document["results"]
    ]
    return table(names, rows)


def search(document: Document) -> str:
    """Return the table of searching for one query at a time."""
    names = ["search", "median ms", "best ms", "ms of CPU", "true rows of the exact top 10 that are found"]
    rows = []
    for r in document["results"]:
        opening = [1000 * seconds for seconds in r["open_s"]]
        size = f"{r['rows']:,} x {r['dim']}"
        rows.append(
            [
                f"opening to the first answer, {size}",
                f"{median(opening):.0f}",
                f"{min(opening):.0f}",
                "",
                "all",
            ]
        )
        recalls = ", ".join(f"{one['recall']:.4f} ({one['name']})" for one in r["recalls"] if one["recall"])
        lines = {"exact": "all", "filtered": "all of one camera", "indexed": recalls}
        rows += [
            [
                f"{name}, {size}",
                *(f"{r[name][key]:.0f}" for key in ("median_ms", "best_ms", "cpu_ms")),
                found,
            ]
            for name, found in lines.items()
            if r[name]
        ]
    return table(names, rows)


def survival(document: Document) -> str:
    """Return the table of what was found after kills."""
    names = ["kills", "during", *FAULTS.values(), "deleted rows with bytes left"]
    return table(names, [survival_cells(r) for r in document["results"]])


def survival_cells(result: Mapping[str, Any]) -> list[str]:
    """Return the cells of one result of kills: their number, what they struck, each kind of fault, and the rows with bytes left."""
    during = ", ".join(f"{count} {kind}" for kind, count in result["during"].items() if kind != "nothing")
    wrong = [str(result["findings"][key]) for key in FAULTS]
    return [
        f"{result['kills']:,}",
        during,
        *wrong,
        f"{result['erased_found']} of {result['erased_sought']:,}",
    ]


def faults(document: Document) -> str:
    """Return the table of failing calls."""
    rows = []
    for r in document["results"]:
        wrong = sum(r["findings"][key] for key in FAULTS)
        cells = (r["calls"], r["refused"], wrong, r["erased_found"], r["not_repeated"])
        rows.append([r["kind"], *map(str, cells)])
    names = [
        "operation",
        "calls that failed in turn",
        "ended with an error",
        "wrong rows",
        "deleted rows with bytes left",
    ]
    return table([*names, "did not succeed afterwards"], rows)


def thresholds(document: Document) -> str:
    """Return the table of held-out rates."""
    rows = [
        [
            r["name"],
            f"{r['enrolled']} / {r['calibration']} / {r['held_out']}",
            f"{r['median_bound']:.2%}",
            f"{r['median_fpir']:.2%} (largest {r['largest_fpir']:.2%})",
            f"{r['inside']} of {r['splits']}",
            f"{r['median_tpir_rank1']:.1%}",
        ]
        for r in document["results"]
    ]
    names = [
        "people",
        "enrolled / calibration / held out",
        "stated bound",
        "held-out FPIR",
        "splits inside",
        "TPIR at rank 1",
    ]
    return table(names, rows)


def site_gain(document: Document) -> str:
    """Return the table of the test people without and with camera means of other people."""
    rows = [
        [
            str(r["crops"]) if r["crops"] else "no calibration",
            f"{r['r1']:.1%} ({r['least_r1']:.1%})",
            f"{r['mean_ap']:.1%} ({r['least_mean_ap']:.1%})",
        ]
        for r in document["results"][0]["gains"]
    ]
    return table(["crops a camera", "R1 (least)", "mAP (least)"], rows)


def site_refusals(document: Document) -> str:
    """Return the table of the cases that a site calibration refuses."""
    rows = [
        [
            r["case"],
            f"{r['refused']} of {r['draws']}",
            "-" if r["r1_change"] is None else f"{100 * r['r1_change']:+.1f}",
        ]
        for r in document["results"][0]["refusals"]
    ]
    return table(["case", "refused", "change of R1 in points if applied all the same"], rows)
