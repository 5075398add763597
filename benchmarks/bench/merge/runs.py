"""Merge the documents of several bench.py runs into one, with a row for each model, batch size and run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench.merge.picture import Point
from benchmarks.json_files import (
    ANYTHING,
    COUNT,
    NUMBER,
    PART,
    POSITIVE,
    TEXT,
    YES_NO,
    listed,
    maybe,
    members,
    read_document,
)
from benchmarks.labels import labels, name_of
from runtime.errors import ConfigError
from runtime.files.manifest import sha256
from runtime.wording import printable

SCHEMA = 1
ENERGY = members(
    {}, {"gross_j_per_image": maybe(NUMBER), "net_j_per_image": maybe(NUMBER), "rail": maybe(TEXT)}
)
MODEL = members(
    {
        "path": TEXT,
        "sha256": TEXT,
        "batch": COUNT,
        "latency_ms": members({"p50": POSITIVE}, {"p99": maybe(POSITIVE)}),
        "images_per_s": POSITIVE,
    },
    {
        **{key: maybe(TEXT) for key in ("parent", "kind", "engine", "precision", "scenario")},
        "energy": maybe(ENERGY),
        "accuracy": maybe(members({"mAP": PART}, {"R1": maybe(PART), "queries": maybe(NUMBER)})),
        "trtexec": maybe(listed(ANYTHING)),
    },
)
HOST = members(
    {"device": TEXT},
    {
        "processor": maybe(TEXT),
        "threads": maybe(COUNT),
        "usable_cores": maybe(COUNT),
        "gpu": maybe(members({}, {"name": maybe(TEXT)})),
    },
)
BOARD = members(
    {},
    {
        "module": maybe(TEXT),
        "model": maybe(TEXT),
        "power_mode": maybe(members({}, {"id": maybe(NUMBER), "name": maybe(TEXT)})),
    },
)
RUN = members(
    {"host": HOST, "models": listed(MODEL, least=1)},
    {
        "board": maybe(BOARD),
        "state": maybe(members({}, {"before": maybe(members({}, {"locked": maybe(YES_NO)}))})),
        "images": maybe(members({}, {"source": maybe(TEXT)})),
        "replayed": maybe(YES_NO),
        "warnings": maybe(listed(TEXT)),
    },
)


def read(path: Path) -> dict[str, Any]:
    """Return the JSON document that bench.py --json printed into the file `path`. Raises ConfigError for any other file."""
    document: dict[str, Any] = read_document(
        path, RUN, expected="a document of bench.py --json", advice="save one first with bench.py --json"
    )
    return document


def merge(documents: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """Merge documents of bench.py, each given as (path, document), into one with a row for each model, batch size and run.

    Returns {schema, runs: [{file, sha256, device, replayed, host, board, clocks_locked, power}], data, rows, warnings}. `data` names
    the data set of the mAP values, and is None if no run has a mAP. Of files with equal content, only the first is used. Raises
    ConfigError if the runs measured mAP on different data sets, because those values are not comparable.
    """
    runs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    documents, warnings = _without_repeats(documents)
    data: dict[str, Path] = {}
    names = _names([document for _, document in documents])
    for name, (path, document) in zip(names, documents):
        runs.append(_run(path, document, name))
        short_names = labels([name_of(model) for model in document["models"]])
        rows += [_row(name, printable(short_names[name_of(model)]), model) for model in document["models"]]
        warnings += [f"{name}: {text}" for text in document.get("warnings") or ()]
        for model in document["models"]:
            if model.get("accuracy"):
                data.setdefault(_data_set(document, model), path)
    if len(data) > 1:
        (first_data, first_path), (second_data, second_path) = list(data.items())[:2]
        raise ConfigError(
            f"{second_path} has the mAP on {second_data}, but {first_path} has it on {first_data}; run bench.py with the same "
            "--data on every device"
        )
    return {
        "schema": SCHEMA,
        "runs": runs,
        "data": next(iter(data), None),
        "rows": rows,
        "warnings": warnings + _name_warnings(rows) + _rail_warnings(rows),
    }


def points(document: Mapping[str, Any], batch: int) -> list[Point]:
    """Return the points of the picture: the rows of `document`, the result of `merge`, that have this batch size and a mAP.

    Raises ConfigError if there is no such row.
    """
    selected = [
        Point(row["device"], row["model"], row["latency_ms"]["p50"], row["mAP"])
        for row in document["rows"]
        if row["batch"] == batch and row["mAP"] is not None
    ]
    if not selected:
        raise ConfigError(
            f"--picture: no run has a model with mAP at batch size {batch}; run bench.py with --data, or give another --batch"
        )
    return selected


def device_name(document: Mapping[str, Any]) -> str:
    """Return the name of the device that a document of bench.py was measured on.

    A Jetson is named by its module and power mode, another GPU by its name, and a CPU by its processor and number of threads.
    "(replayed)" follows if the document comes from a recorded run.
    """
    host, board = document["host"], document.get("board") or {}
    gpu = host.get("gpu") or {}
    name = (
        board.get("module")
        or board.get("model")
        or gpu.get("name")
        or host.get("processor")
        or "unknown device"
    )
    mode = board.get("power_mode")
    words = f"{name}, {mode.get('name') or mode.get('id')}" if mode else str(name)
    if host["device"] == "cpu":
        words += f", {host.get('threads') or host.get('usable_cores') or 'all'} threads"
    return f"{words} (replayed)" if document.get("replayed") else words


def _without_repeats(
    documents: Sequence[tuple[Path, Mapping[str, Any]]],
) -> tuple[list[tuple[Path, Mapping[str, Any]]], list[str]]:
    """Return the documents without files of equal content, and a warning for each file that is left out."""
    first: dict[str, Path] = {}
    kept, warnings = [], []
    for path, document in documents:
        if (original := first.setdefault(sha256(path), path)) is path:
            kept.append((path, document))
        else:
            warnings.append(f"{path} has the same content as {original} and is left out")
    return kept, warnings


def _name_warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a warning for each name that different exported models share, because the table does not tell them apart."""
    origins_of: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["origin"]:
            origins_of.setdefault(row["model"], {}).setdefault(row["origin"], row["device"])
    return [
        f"the name {model} stands for different models on {' and on '.join(origins.values())}, so do not compare their rows"
        for model, origins in origins_of.items()
        if len(origins) > 1
    ]


def _rail_warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a warning if the energy of the rows was measured at different power rails.

    Such values are not comparable. A graphics card alone uses less power than a whole board, for example.
    """
    measured = [row for row in rows if row["gross_j_per_image"] is not None]
    rails = dict.fromkeys((row["rail"], row["device"]) for row in measured)
    if len({rail for rail, _ in rails}) < 2:
        return []
    listing = "; ".join(f"{rail or 'an unknown rail'} on {device}" for rail, device in rails)
    return [f"the energy values are not comparable, because they come from different power rails: {listing}"]


def _names(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the device name of each run. If several runs share a name, each of them gets a number."""
    names = [printable(device_name(document)) for document in documents]
    counts: dict[str, int] = {}
    unique_names = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        unique_names.append(f"{name} #{counts[name]}" if names.count(name) > 1 else name)
    return unique_names


def _run(path: Path, document: Mapping[str, Any], name: str) -> dict[str, Any]:
    state = (document.get("state") or {}).get("before") or {}
    return {
        "file": path.name,
        "sha256": sha256(path),
        "device": name,
        "replayed": bool(document.get("replayed")),
        "host": document["host"],
        "board": document.get("board"),
        "clocks_locked": state.get("locked"),
        "power": document.get("power"),
    }


def _row(device: str, name: str, model: Mapping[str, Any]) -> dict[str, Any]:
    energy, scores = model.get("energy") or {}, model.get("accuracy")
    return {
        "device": device,
        "model": name,
        "sha256": model["sha256"],
        # `origin` is the ONNX file. It is the same on all devices, while each device builds its own engine from it.
        "origin": model.get("parent") if model.get("kind") == "engine" else model["sha256"],
        "engine": model.get("engine"),
        "precision": model.get("precision"),
        "batch": model["batch"],
        "scenario": model.get("scenario"),
        "latency_ms": model["latency_ms"],
        "images_per_s": model["images_per_s"],
        "gross_j_per_image": energy.get("gross_j_per_image"),
        "net_j_per_image": energy.get("net_j_per_image"),
        "rail": energy.get("rail"),
        "trtexec": model.get("trtexec") or [],
        "mAP": scores["mAP"] if scores else None,
        "R1": scores.get("R1") if scores else None,
    }


def _data_set(document: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Describe the data set by the name of its folder and its number of queries."""
    source = ((document.get("images") or {}).get("source") or "").removeprefix("crops of ")
    return printable(f"{os.path.basename(source.rstrip('/'))} ({model['accuracy'].get('queries')} queries)")
