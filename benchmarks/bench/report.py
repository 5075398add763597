"""Print the result of bench.py as tables that fit into 100 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bench.stages import STAGES
from benchmarks.labels import labels, name_of, number
from benchmarks.unfinished import incomplete_line
from runtime.console import print_table


def print_report(document: dict[str, Any]) -> None:
    """Print a JSON document of bench.py as tables: the models, their times at each batch size, and all other measurements."""
    models = document["models"]
    if line := incomplete_line(document):
        print(line)
    if not models:
        return
    names = labels([name_of(model) for model in models])
    batches = list(dict.fromkeys(model["batch"] for model in models))
    first = [model for model in models if model["batch"] == batches[0]]
    print_table(_host(document["host"]), *_columns(MODEL, [_model(model, names) for model in first]))
    for batch in batches:
        rows = [_times(model, names) for model in models if model["batch"] == batch]
        title = f"batch {batch}, ms per call; {document['images']['count']} {document['images']['source']}"
        print_table(title, *_columns(TIMES, rows))
    if len(first) > 1:
        rows = [_ratio(ratio, names) for index, ratio in enumerate(document["ratios"]) if index % len(first)]
        title = f"times as fast as {names[name_of(first[0])]}: median over rounds (5 % .. 95 %)"
        print_table(title, *_columns(RATIO, rows))
    if stage_rows := [_stage_times(model, names) for model in first if model["stages"]]:
        gallery = next(model["stages"]["gallery"] for model in first if model["stages"])
        print_table(
            f"stages of one image, ms; rank: search in {gallery} features",
            *_columns(STAGE_COLUMNS, stage_rows),
        )
    if parities := [_parity(model, names) for model in first if model.get("parity")]:
        title = f"features compared with those of {names[name_of(first[0])]}"
        print_table(title, *_columns(PARITY, parities))
    if throughputs := [_throughput(model, names) for model in models if model.get("throughput")]:
        print_table("several processes at once, one thread each", *_columns(THROUGHPUT, throughputs))
    if energies := [_energy(model, names) for model in models if model.get("energy")]:
        print_table("energy of the graphics card alone", *_columns(ENERGY, energies))
    if trtexec_rows := [_trtexec(model, names) for model in models if model.get("trtexec")]:
        print_table("median times of this run and of trtexec, ms per call", *_columns(TRTEXEC, trtexec_rows))
    if galleries := [_gallery(row, names) for row in document.get("galleries") or ()]:
        print_table("extraction of the whole gallery from its files", *_columns(GALLERY, galleries))
    if card := (document.get("state") or {}).get("before"):
        print_table("graphics card before the first measurement", ("", ""), _card(card, document["state"]))
    if failed := [[failure["model"], failure["why"]] for failure in document["failed"]]:
        print_table("models that do not run here", ("model", "reason"), failed)
    if compared := document.get("compared"):
        rows = [_compared(row, names) for row in compared["models"]]
        print_table("times as fast as in the earlier run: ratio of medians (95 %)", *_columns(COMPARED, rows))


MODEL = ("model", "form", "GMAC paper/plain/folded", "M par.", "file MB", "peak MB", "mAP")
TIMES = ("model", "p50", "p90", "p95", "p99", "mean", "CPU ms", "cv", "images/s")
RATIO = ("model", "batch", "wall time", "95 %", "CPU time")
STAGE_COLUMNS = ("model", *STAGES)
PARITY = ("model", "lowest cosine", "largest difference", "top-1", "top-10")
THROUGHPUT = ("model", "batch", "processes", "images/s", "of one alone")
ENERGY = ("model", "batch", "mJ/image", "without idle", "W", "idle W")
TRTEXEC = ("engine", "batch", "ours", "trtexec", "with copies")
GALLERY = ("model", "files", "images/s", "mJ/image", "without idle")
COMPARED = ("model", "batch", "ratio", "verdict")


def _model(model: dict[str, Any], names: dict[str, str]) -> list[str]:
    macs = " / ".join(number(model[f"macs_{kind}"], 1e9) for kind in ("paper", "reference", "folded"))
    sizes = [number(model["params"], 1e6), number(model["file_bytes"], 1e6)]
    scores = model["accuracy"]
    form = model["kind"] if model["kind"] == "torch" else model["form"]
    return [
        names[name_of(model)],
        " ".join(part for part in (form, model["precision"]) if part),
        macs,
        *sizes,
        number(model["peak_memory_bytes"], 1e6),
        f"{scores['mAP']:.2%}" if scores else "-",
    ]


def _times(model: dict[str, Any], names: dict[str, str]) -> list[str]:
    times = [number(model["latency_ms"][point]) for point in ("p50", "p90", "p95", "p99", "mean")]
    spread = f"{model['cv']:.1%}"
    return [names[name_of(model)], *times, number(model["cpu_ms"]), spread, number(model["images_per_s"])]


def _ratio(ratio: dict[str, Any], names: dict[str, str]) -> list[str]:
    interval = ratio["interval_95"]
    limits = f"{interval['low']:.2f} .. {interval['high']:.2f}"
    times = [_spread(ratio["speed"]), limits, _spread(ratio["cpu_speed"])]
    return [names[name_of(ratio)], str(ratio["batch"]), *times]


def _stage_times(model: dict[str, Any], names: dict[str, str]) -> list[str]:
    return [names[name_of(model)], *(number(model["stages"]["ms"][stage]) for stage in STAGES)]


def _parity(model: dict[str, Any], names: dict[str, str]) -> list[str]:
    forms = (("cosine_min", ".6f"), ("difference_max", ".1e"), ("top1", ".3f"), ("top10", ".3f"))
    # Features that are not finite have no cosine.
    cells = [format(model["parity"][key], form) if key in model["parity"] else "-" for key, form in forms]
    return [names[name_of(model)], *cells]


def _throughput(model: dict[str, Any], names: dict[str, str]) -> list[str]:
    load = model["throughput"]
    speedup = f"{load['images_per_s'] / model['images_per_s']:.2f}x"
    counts = [str(model["batch"]), str(load["processes"])]
    return [names[name_of(model)], *counts, number(load["images_per_s"]), speedup]


def _energy(model: dict[str, Any], names: dict[str, str]) -> list[str]:
    energy = model["energy"]
    joules = [number(energy[key], 0.001) for key in ("gross_j_per_image", "net_j_per_image")]
    watts = [number(energy[key]) for key in ("mean_w", "idle_w")]
    return [names[name_of(model)], str(model["batch"]), *joules, *watts]


def _trtexec(model: dict[str, Any], names: dict[str, str]) -> list[str]:
    medians = {run["transfers"]: (run["latency_ms"] or {}).get("p50") for run in model["trtexec"]}
    times = [model["latency_ms"]["p50"], medians.get(False), medians.get(True)]
    return [names[name_of(model)], str(model["batch"]), *map(number, times)]


def _gallery(gallery: dict[str, Any], names: dict[str, str]) -> list[str]:
    joules = [number(gallery["energy"][key], 0.001) for key in ("gross_j_per_image", "net_j_per_image")]
    return [names[name_of(gallery)], str(gallery["images"]), number(gallery["images_per_s"]), *joules]


def _card(card: Mapping[str, Any], state: Mapping[str, Any]) -> list[list[object]]:
    after = (state["after"] or {}).get("temperature_c")
    rows: list[list[object]] = [
        ["card", f"{card['name']}, driver {card['driver']}"],
        ["power limit", f"{number(card['power_limit_w'])} W"],
        ["SM clock", f"{number(card['sm_mhz'])} of {number(card['sm_max_mhz'])} MHz"],
        ["temperature", f"{number(card['temperature_c'])} C -> {number(after)} C"],
    ]
    return rows + [["for highest speed", command] for command in state["commands"]]


def _compared(row: dict[str, Any], names: dict[str, str]) -> list[str]:
    ratio = f"{row['ratio']:.3f} ({row['low']:.3f} .. {row['high']:.3f})"
    verdict = row["verdict"] + ("" if row["same_file"] else ", another file")
    return [names[name_of(row)], str(row["batch"]), ratio, verdict]


def _spread(ratio: dict[str, float] | None) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} .. {ratio['high']:.2f})" if ratio else "-"


def _host(host: dict[str, Any]) -> str:
    threads = host["threads"] or "all"
    return f"{host['device']}, {threads} threads of {host['usable_cores']} cores, {host['processor']}"


def _columns(names: Sequence[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return (headers, rows) with all columns but the first aligned to the right."""
    widths = [max(map(len, column)) for column in zip(names, *rows)]
    aligned = [[row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))] for row in rows]
    return [names[0], *(name.rjust(width) for name, width in zip(names[1:], widths[1:]))], aligned
