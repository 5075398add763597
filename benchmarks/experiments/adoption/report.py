"""The tables of a result of `python -m benchmarks.experiments.adoption`, for the terminal and for docs/adopt.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
Table = tuple[list[str], list[list[str]]]

CHECKS = {"labelled": "labelled", "unlabelled": "without labels", "default": "no --check"}
NETWORKS = {
    "osnet_like": "OSNet-like",
    "resnet_like": "ResNet-like",
    "own_export": "our own float export",
}
FILES = {
    "fp32": "FP32",
    "fp16": "FP16 for tensorrt",
    "int8": "INT8 for onnxruntime",
    "int8trt": "INT8 for tensorrt",
}


def inputs_table(document: Document) -> Table:
    """Return (column headers, rows) of what `export adopt` answered to each stated input."""
    names = [
        "model",
        "stated input",
        "crops",
        "mAP",
        "mAP of the best other input",
        "difference (95 %)",
        "exit code",
    ]
    rows = []
    for model in document["models"]:
        for trial in model["trials"]:
            case = trial["case"] if trial["case"] == "right" else f"wrong: {trial['case']}"
            compared = ["-", "-", "-"]
            if trial["map"] is not None:
                difference = f"{trial['gain']:+.1f} ({trial['low']:+.1f} to {trial['high']:+.1f})"
                compared = [_percent(trial["map"]), _percent(trial["other_map"]), difference]
            rows.append([NETWORKS[model["name"]], case, CHECKS[trial["check"]], *compared, _answer(trial)])
    return names, rows


def _answer(trial: Mapping[str, Any]) -> str:
    if trial["exit_code"]:
        return f"{trial['exit_code']}, {'features nearly equal' if trial['nearly_equal'] else 'refused'}"
    return "0, warned" if trial["warned"] else "0"


def files_table(document: Document) -> Table:
    """Return (column headers, rows) of the mAP, size and speed of each original and of the files that were adopted from it."""
    names = [
        "model",
        "file",
        "MB",
        "Anny-ReID mAP / R1",
        "30 real people mAP / R1",
        "lowest cosine",
        "INT8 layers",
    ]
    batches = [row["batch"] for row in document["models"][0]["latency"]]
    names += [f"batch {batch}: ms, times as fast (95 %)" for batch in batches]
    rows = []
    for model in document["models"]:
        start = model["original"]
        rows.append(
            [
                NETWORKS[model["name"]],
                "original",
                _size(start),
                *_scores(start),
                "-",
                "-",
                *["-"] * len(batches),
            ]
        )
        for file in model["files"]:
            groups = "-" if file["int8_groups"] is None else f"{file['int8_groups']} of {file['groups']}"
            cells = [
                FILES[file["file"]],
                _size(file),
                *_scores(file),
                f"{file['gate']['cosine_min']:.6f}",
                groups,
            ]
            rows.append(
                [NETWORKS[model["name"]], *cells, *(_time(row, file["file"]) for row in model["latency"])]
            )
    return names, rows


def _time(row: Mapping[str, Any], file: str) -> str:
    """Return the median time of the FP32 or the INT8 file for onnxruntime, and how many times as fast as FP32 INT8 is."""
    if f"{file}_ms" not in row:
        return "-"
    ratio = row["interval_95"]
    faster = f", {ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" if file == "int8" else ""
    return f"{row[f'{file}_ms']:.2f}{faster}"


def _scores(row: Mapping[str, Any]) -> list[str]:
    return [f"{100 * row[name]['mAP']:.1f} / {100 * row[name]['R1']:.1f}" for name in ("anny_reid", "other")]


def _size(row: Mapping[str, Any]) -> str:
    return f"{row['bytes'] / 1e6:.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def commands_table(document: Document) -> Table:
    """Return (column headers, rows) of the exit codes of the commands that used the adopted files."""
    names = list(document["models"][0]["consumers"])
    rows = [
        [NETWORKS[model["name"]], *(str(model["consumers"][name]) for name in names)]
        for model in document["models"]
    ]
    return ["model", *names], rows
