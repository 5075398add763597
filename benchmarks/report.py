"""bench.py's result as tables for people, narrow enough for 100 columns. Measures nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from runtime.console import print_table


def print_report(document: dict[str, Any]) -> None:
    """Print the document of `benchmarks.bench`: the models, then the times and the ratios of each batch size."""
    models = document["models"]
    names = labels([model["path"] for model in models])
    batches = list(dict.fromkeys(model["batch"] for model in models))
    first = [model for model in models if model["batch"] == batches[0]]
    print_table(_host(document["host"]), *_columns(MODEL, [_model(model, names) for model in first]))
    for batch in batches:
        rows = [_times(model, names) for model in models if model["batch"] == batch]
        title = f"batch {batch}, ms a call; {document['images']['count']} {document['images']['source']}"
        print_table(title, *_columns(TIMES, rows))
    if len(first) > 1:
        rows = [_ratio(one, names) for index, one in enumerate(document["ratios"]) if index % len(first)]
        title = f"times as fast as {names[first[0]['path']]}: median of rounds (5 % .. 95 %)"
        print_table(title, *_columns(RATIO, rows))


MODEL = ("model", "form", "GMAC paper/plain/folded", "M par.", "file MB", "peak MB", "mAP")
TIMES = ("model", "p50", "p90", "p95", "p99", "mean", "CPU ms", "cv", "images/s")
RATIO = ("model", "batch", "wall time", "CPU time")


def labels(paths: Sequence[str]) -> dict[str, str]:
    """Path -> file name, or the whole path where two files share a name."""
    unique = list(dict.fromkeys(paths))
    names = [os.path.basename(path) for path in unique]
    return {path: name if names.count(name) == 1 else path for path, name in zip(unique, names)}


def number(value: float | None, scale: float = 1) -> str:
    """Three to five digits of value / scale, or "-" for None."""
    if value is None:
        return "-"
    scaled = value / scale
    digits = next((digits for limit, digits in ((10, 3), (100, 2), (1000, 1)) if scaled < limit), 0)
    return f"{scaled:.{digits}f}"


def _model(model: dict[str, Any], names: dict[str, str]) -> list[str]:
    macs = " / ".join(number(model[f"macs_{kind}"], 1e9) for kind in ("paper", "reference", "folded"))
    sizes = [number(model["params"], 1e6), number(model["file_bytes"], 1e6)]
    scores = model["accuracy"]
    form = model["kind"] if model["kind"] == "torch" else model["form"]
    return [
        names[model["path"]],
        " ".join(part for part in (form, model["precision"]) if part),
        macs,
        *sizes,
        number(model["peak_memory_bytes"], 1e6),
        f"{scores['mAP']:.2%}" if scores else "-",
    ]


def _times(model: dict[str, Any], names: dict[str, str]) -> list[str]:
    times = [number(model["latency_ms"][point]) for point in ("p50", "p90", "p95", "p99", "mean")]
    spread = f"{model['cv']:.1%}"
    return [names[model["path"]], *times, number(model["cpu_ms"]), spread, number(model["images_per_s"])]


def _ratio(ratio: dict[str, Any], names: dict[str, str]) -> list[str]:
    return [names[ratio["path"]], str(ratio["batch"]), _spread(ratio["speed"]), _spread(ratio["cpu_speed"])]


def _spread(ratio: dict[str, float] | None) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} .. {ratio['high']:.2f})" if ratio else "-"


def _host(host: dict[str, Any]) -> str:
    threads = host["threads"] or "all"
    return f"{host['device']}, {threads} threads of {host['usable_cores']} cores, {host['processor']}"


def _columns(names: Sequence[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """(headers, rows), every column but the first as right-aligned text."""
    widths = [max(map(len, column)) for column in zip(names, *rows)]
    aligned = [[row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))] for row in rows]
    return [names[0], *(name.rjust(width) for name, width in zip(names[1:], widths[1:]))], aligned
