"""Format the result of the measurement as tables."""

from __future__ import annotations

from statistics import median

from benchmarks.table_rows import Document, table

# Key of a round -> what the table calls it, the digits of its values, and whether Ray's value is divided by the other one.
LINES = {
    "start_s": ("start: seconds until the first features", 1, False),
    "images_per_s": ("steady state: images a second", 0, True),
    "cpu_ms": ("steady state: CPU ms an image, of all processes", 2, True),
    "memory_mb": ("memory of all processes, MB", 0, True),
    "end_s": ("end: seconds from the last features to the end", 1, False),
    "total_s": ("everything: seconds", 1, True),
}


def speed(document: Document) -> str:
    """Return the table of the times of both ways of extraction."""
    return table(*speed_rows(document))


def deaths(document: Document) -> str:
    """Return the table of what was stored although actors were killed."""
    return table(*death_rows(document))


def speed_rows(document: Document) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the times: medians over the rounds, and the median, least and greatest of their ratios."""
    columns = ["", "`--preset throughput`", "`--on ray`", "ratio, by rounds"]
    rows = []
    for key, (name, digits, divided) in LINES.items():
        plain, ray = ([turn[way][key] for turn in document["rounds"]] for way in ("plain", "ray"))
        ratios = [value / base for value, base in zip(ray, plain)] if divided else []
        spread = f"{median(ratios):.3f} ({min(ratios):.3f} .. {max(ratios):.3f})" if ratios else ""
        rows.append([name, f"{median(plain):.{digits}f}", f"{median(ray):.{digits}f}", spread])
    loads = [
        f"{median(turn[way]['load_average'][0] for turn in document['rounds']):.1f}"
        for way in ("plain", "ray")
    ]
    rows.append([f"load average, on {document['host']['usable_cores']} cores", *loads, ""])
    return columns, rows


def death_rows(document: Document) -> tuple[list[str], list[list[str]]]:
    """Return the columns and the row of the extraction whose actors were killed."""
    killed = document["killed"]
    columns = [
        "killed actors",
        "images",
        "rows stored",
        "images lost",
        "rows twice",
        "features equal to the bit",
    ]
    values = [
        killed["kills"],
        document["images"],
        killed["rows"],
        killed["lost"],
        killed["twice"],
        killed["equal"],
    ]
    return columns, [[str(value) for value in values]]
