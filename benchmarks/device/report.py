"""Print the JSON document of a Jetson run as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.labels import labels, number
from benchmarks.unfinished import incomplete_line
from runtime.console import print_table

COLUMNS = (
    "model",
    "scenario",
    "p50",
    "p90",
    "p99",
    "cv",
    "images/s",
    "trtexec p50",
    "with copies",
    "mJ/image",
    "without idle",
    "mAP",
)


def print_device_report(document: Mapping[str, Any]) -> None:
    """Print a table of the board's state, and one with a row for each model and batch size.

    If the document has a comparison with an earlier run (`--compare`), print it as a third table.
    """
    if line := incomplete_line(document):
        print(line)
    if "board" not in document:
        return
    names = labels([model["path"] for model in document["models"]])
    rows = [_row(model, names) for model in document["models"]]
    rows += [_gallery(gallery, names) for gallery in document["galleries"]]
    title = "REPLAYED, not measured here" if document["replayed"] else "this board"
    print_table(title, ("", ""), _board(document))
    print_table("ms per call", COLUMNS, rows)
    if compared := document.get("compared"):
        comparisons = [
            [
                names[model["path"]],
                model["batch"],
                f"{model['ratio']:.3f} ({model['low']:.3f} .. {model['high']:.3f})",
                model["verdict"],
            ]
            for model in compared["models"]
        ]
        print_table(
            "times as fast as in the earlier run: ratio of medians (95 %)",
            ("model", "batch", "ratio", "verdict"),
            comparisons,
        )


def _board(document: Mapping[str, Any]) -> list[list[object]]:
    board, state, power = document["board"], document["state"], document["power"]
    mode = board["power_mode"]
    locked = {True: "locked", False: "NOT locked", None: "unknown"}[state["before"]["locked"]]
    warmest = [max(state[when]["temperatures_c"].values(), default=None) for when in ("before", "after")]
    rows: list[list[object]] = [
        ["board", board["module"] or board["model"] or "unknown"],
        ["L4T", f"{board['l4t'] or 'unknown'}, JetPack {board['jetpack'] or 'unknown'}"],
        ["CUDA", board["cuda"] or "unknown"],
        ["TensorRT", board["tensorrt_package"] or _version(document) or "unknown"],
        ["power mode", (mode["name"] or mode["id"]) if mode else "unknown"],
        ["clocks", locked],
        ["warmest zone", " -> ".join(f"{number(value)} C" for value in warmest)],
        ["power", _power(power)],
    ]
    return rows + [["for best times", command] for command in state["commands"]]


def _power(power: Mapping[str, Any]) -> str:
    if not power["sensor"]:
        return "not readable"
    idle = "idle unknown" if power["idle_w"] is None else f"{number(power['idle_w'])} W idle"
    return f"{power['rail'] or 'no rail'} from {power['sensor']}, {idle}"


def _row(model: Mapping[str, Any], names: Mapping[str, str]) -> list[object]:
    times = [number(model["latency_ms"][point]) for point in ("p50", "p90", "p99")]
    trtexec_p50 = {run["transfers"]: (run["latency_ms"] or {}).get("p50") for run in model["trtexec"]}
    scores = model["accuracy"]
    return [
        names[model["path"]],
        model["scenario"],
        *times,
        f"{model['cv']:.1%}",
        number(model["images_per_s"]),
        number(trtexec_p50.get(False)),
        number(trtexec_p50.get(True)),
        *_joules(model["energy"]),
        f"{scores['mAP']:.2%}" if scores else "-",
    ]


def _gallery(gallery: Mapping[str, Any], names: Mapping[str, str]) -> list[object]:
    return [
        names[gallery["path"]],
        f"gallery, {gallery['images']} files",
        *["-"] * 4,
        number(gallery["images_per_s"]),
        "-",
        "-",
        *_joules(gallery["energy"]),
        "-",
    ]


def _joules(energy: Mapping[str, Any]) -> list[str]:
    return [number(energy[key], 0.001) for key in ("gross_j_per_image", "net_j_per_image")]


def _version(document: Mapping[str, Any]) -> str | None:
    versions = (run["version"] for model in document["models"] for run in model["trtexec"] if run["version"])
    return next(versions, None)
