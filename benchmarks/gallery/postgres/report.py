"""Format results of a gallery on a server as Markdown tables. Each function takes one parsed JSON file and returns one table."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.gallery.report import FAULTS, survival_cells
from benchmarks.table_rows import Document, table


def ingest(document: Document) -> str:
    """Return the table of storing rows by one client and by several."""
    names = [
        "numbers",
        "batch",
        "clients",
        "durable rows/s of all (median, best)",
        "bytes a row",
        "size / raw numbers",
    ]
    rows = [
        [
            str(r["dim"]),
            str(r["batch"]),
            str(r["clients"]),
            f"{r['rows_per_s']:,.0f}, {r['best_rows_per_s']:,.0f}",
            f"{r['bytes_per_row']:,.0f}",
            f"{r['against_raw']:.2f}",
        ]
        for r in document["results"]
    ]
    return table(names, rows)


def search(document: Document) -> str:
    """Return the table of searching in a folder and on a server for one query at a time."""
    rows = []
    for (count, dim), pair in _pairs(document).items():
        size = f"{count:,} x {dim}"
        cells = []
        for store in ("folder", "server"):
            opening = [1000 * seconds for seconds in pair[store]["open_s"]]
            cells += [f"{median(opening):,.0f}, {min(opening):,.0f}", ""]
        rows.append([size, "opening to the first answer", *cells])
        for name in ("exact", "filtered", "indexed"):
            cells = []
            for store in ("folder", "server"):
                one = pair[store][name]
                cells += [f"{one['median_ms']:,.0f}, {one['best_ms']:,.0f}", f"{one['against_plain']:.1f}"]
            rows.append([size, name, *cells])
    names = ["rows x numbers", "search"]
    for store in ("folder", "server"):
        names += [f"{store}: median ms, best", "times a plain product in memory"]
    return table(names, rows)


def size(document: Document) -> str:
    """Return the table of the space and the time that an index takes on the server."""
    names = [
        "rows x numbers",
        "bytes a row beside the numbers",
        "bytes a row of the index",
        "building and judging it, s",
        "recall of the gate",
        "true rows of the exact top 10 that it finds",
    ]
    rows = [
        [
            f"{r['rows']:,} x {r['dim']}",
            f"{r['metadata_bytes_per_row']:,.0f}",
            f"{r['index_bytes'] / r['rows']:,.0f}",
            f"{r['index_build_s']:,.0f}",
            f"{r['index_recall']:.4f}",
            ", ".join(f"{one['recall']:.4f}" for one in r["recalls"] if one["recall"] is not None),
        ]
        for r in document["results"]
        if r["store"] == "server" and r["index_bytes"] is not None
    ]
    return table(names, rows)


def survival(document: Document) -> str:
    """Return the table of what was found after kills."""
    names = ["killed", "kills", "during", *FAULTS.values(), "deleted rows with bytes left in tables or log"]
    rows = [[r["struck"], *survival_cells(r), f"{r['orphan_bytes']:,}"] for r in document["results"]]
    return table([*names, "bytes in files without a table"], rows)


def erased(document: Document) -> str:
    """Return the table of the bytes of deleted rows."""
    names = [
        "deleted by",
        "rows",
        "byte strings of them",
        "found before",
        "in the tables after",
        "in the log after",
    ]
    rows = [
        [r["how"], *(f"{r[key]:,}" for key in ("rows", "sought", "before", "in_tables", "in_log"))]
        for r in document["results"]
    ]
    return table(names, rows)


def growth(document: Document) -> str:
    """Return the table of what more rows take: the measured number of rows, and multiples of it by calculation."""
    rows = []
    for (measured, dim), pair in _pairs(document).items():
        for factor in (1, 10, 100, 1000):
            count = measured * factor
            how = "measured" if factor == 1 else "calculated"
            cells = [f"{count:,} x {dim}", how]
            for store in ("folder", "server"):
                r = pair[store]
                bytes_per_row = 4 * dim + r["metadata_bytes_per_row"]
                cells += [
                    f"{bytes_per_row * count / 1e9:,.2f}",
                    f"{r['exact']['best_ms'] * factor / 1000:,.2f}",
                ]
                cells.append("-" if r["index_bytes"] is None else f"{r['index_bytes'] * factor / 1e9:,.2f}")
            rows.append(cells)
    names = ["rows x numbers", "how"]
    for store in ("folder", "server"):
        names += [f"{store}: GB", "best exact search, s", "GB of the index"]
    return table(names, rows)


def _pairs(document: Document) -> dict[tuple[int, int], dict[str, Any]]:
    """Return {(rows, numbers): the results of the folder and of the server}."""
    pairs: dict[tuple[int, int], dict[str, Any]] = {}
    for r in document["results"]:
        pairs.setdefault((r["rows"], r["dim"]), {})[r["store"]] = r
    return pairs
