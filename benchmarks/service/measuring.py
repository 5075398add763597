"""Do the measurements of one command line, and put their results together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.host import describe_host, doubts, load_average
from benchmarks.service.material import make_gallery, read_pictures
from benchmarks.service.options import ServiceOptions
from benchmarks.service.overload import overload
from benchmarks.service.searching import measure_searches
from benchmarks.service.soaking import soak
from benchmarks.service.stops import stop_often
from benchmarks.service.trickling import trickle
from benchmarks.unfinished import printed
from runtime.console import note
from runtime.model import open_model

SINGLE = {"soak": soak, "overload": overload, "stop": stop_often, "trickle": trickle}


def measure(options: ServiceOptions, folder: Path) -> dict[str, Any]:
    """Return {host, model, dim, picture_bytes, warnings, results}. `results` has that of each measurement; `search` has a list.

    The galleries are made below `folder`.
    """
    host = describe_host(device="cpu", threads=1)
    pictures = read_pictures(options.pictures)
    model = open_model(options.model, threads=1, allow_ungated=options.allow_ungated)
    results: dict[str, Any] = {}
    document: dict[str, Any] = {
        "host": host,
        "model": options.model.name,
        "dim": model.dim,
        "picture_bytes": sum(map(len, pictures)) / len(pictures),
        "warnings": doubts(host),
        "results": results,
    }
    with printed(lambda: document if results else None):
        for measurement in options.measurements:
            for rows in options.rows if measurement == "search" else options.rows[:1]:
                note(f"{measurement}: {rows:,} rows")
                # the load before a stop adds rows
                name = f"{rows}_rows_stop" if measurement == "stop" else f"{rows}_rows"
                store = make_gallery(folder / name, model, rows)
                if measurement == "search":
                    found = measure_searches(options, model, store, pictures, rows)
                    results.setdefault(measurement, []).append(found)
                else:
                    results[measurement] = SINGLE[measurement](options, store, pictures)
    host["load_average_after"] = load_average()
    return document
