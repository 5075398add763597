"""Format results of benchmarks/results as Markdown tables. Each function takes one parsed JSON file and returns one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.options.backends import ONNX_BACKENDS

Document = Mapping[str, Any]

# Files of the run with full-size models, as the commands in docs/performance.md name them -> descriptions.
BASE = {
    "plain.onnx": "plain form, unpruned",
    "folded.onnx": "folded, unpruned",
    "h25.onnx": "folded, h25/t25",
    "h40.onnx": "folded, h40/t40",
    "h25.int8.onnx": "folded, h25/t25, INT8",
    "unpruned.safetensors": "plain form, unpruned",
    "h25.safetensors": "plain form, h25/t25",
}
LABELS = {name: backend.label for name, backend in ONNX_BACKENDS.items()} | {
    "torch": "torch eager",
    "torch.compile": "torch.compile",
}
# The rows that the README shows: (file, backend).
SPEED = (
    ("plain.onnx", "onnxruntime"),
    ("folded.onnx", "onnxruntime"),
    ("h25.onnx", "onnxruntime"),
    ("h25.int8.onnx", "onnxruntime"),
    ("h25.onnx", "openvino"),
    ("h25.onnx", "openvino-bf16"),
    ("h25.int8.onnx", "openvino-bf16"),
)
DEMO = {
    "unpruned-plain": "unpruned-plain (as an exporter writes it)",
    "unpruned": "unpruned (folded exactly)",
    "pruned": "pruned h25/t25, three short epochs of fine-tuning (folded)",
    "pruned-fp16": "the same in typed FP16 for TensorRT, here on a CPU that computes in FP32",
    "pruned-int8": "the same in INT8 for ONNX Runtime",
}
# The models of the measurement with frames, as the commands in docs/performance.md name them -> descriptions.
FRAMES = {"base.onnx": "vit_base, stride 12, 256x128, random weights", "hybrid.onnx": "hybrid_lite, 128x64"}
# The models and the crops of the measurement of fewer numbers -> descriptions.
DIMENSIONS = {
    "unpruned": "data/hybrid_lite",
    "pruned": "data/hybrid_lite, pruned",
    "demo": "data/demo (a ViT without the CNN)",
}
CROPS = {None: "", "rendered": "rendered people", "real": "44 real people", "both": "both"}
FILES = {
    "fp32": "FP32",
    "fp16": "FP16, `tensorrt`",
    "int8": "INT8, `onnxruntime`",
    "int8trt": "INT8, `tensorrt`",
    "int8trt8": "INT8, `tensorrt8`",
}


def base(document: Document) -> str:
    """Return the table of full-size models on every backend.

    Each row is a model on a backend. Each batch size has three columns: the median ms per call, and how many times as fast this row
    is as the first row at this batch size, by wall time and by CPU time.
    """
    batches = list(dict.fromkeys(model["batch"] for model in document["models"]))
    first = [model for model in document["models"] if model["batch"] == batches[0]]
    columns = [
        f"batch {batch}, {quantity}"
        for batch in batches
        for quantity in ("ms", "times as fast (95 %)", "by CPU time")
    ]
    rows = []
    for index, model in enumerate(first):
        cells = [BASE[Path(model["path"]).name], LABELS[model["engine"]]]
        cells.append(f"{model['macs_folded' if model['form'] == 'folded' else 'macs_reference'] / 1e9:.2f}")
        for number in range(len(batches)):
            position = number * len(first) + index
            timed, ratio = document["models"][position], document["ratios"][position]
            interval = ratio["interval_95"]
            cells += [
                f"{timed['latency_ms']['p50']:.0f}",
                f"{interval['ratio']:.2f} ({interval['low']:.2f} .. {interval['high']:.2f})",
                f"{ratio['cpu_speed']['median']:.2f}",
            ]
        rows.append(cells)
    return table(["model", "backend", "GMAC", *columns], rows)


def speed(document: Document) -> str:
    """Return the README's table of full-size models: ms per call, and how many times as fast each row is as the first row.

    It shows the rows of `base` that SPEED names, with fewer columns. `document` is the same result file as that of `base`.
    """
    batches = list(dict.fromkeys(model["batch"] for model in document["models"]))
    count = len(document["models"]) // len(batches)
    rows = []
    for index, model in enumerate(document["models"][:count]):
        if (Path(model["path"]).name, model["engine"]) not in SPEED:
            continue
        cells = [BASE[Path(model["path"]).name], LABELS[model["engine"]]]
        for position in range(index, len(document["models"]), count):
            cells += [
                f"{document['models'][position]['latency_ms']['p50']:.0f}",
                f"{document['ratios'][position]['interval_95']['ratio']:.2f}x",
            ]
        rows.append(cells)
    columns = [f"batch {batch}, {quantity}" for batch in batches for quantity in ("ms", "times as fast")]
    return table(["model", "backend", *columns], rows)


def demo(document: Document) -> str:
    """Return the table of the demo's models with their size, accuracy and speed, and a line with the duration of `make demo`."""
    results = document["results"]
    rows = []
    for model, ratio in zip(results["bench"]["models"], results["bench"]["ratios"], strict=True):
        name = Path(model["path"]).stem
        macs = model["macs_folded" if model["form"] == "folded" else "macs_reference"]
        scores = results[f"evaluate {name}"]
        cells = [DEMO[name], f"{macs / 1e9:.3f}", f"{model['file_bytes'] / 1e6:.1f}", _percent(scores["mAP"])]
        cells += [
            _percent(scores["R1"]),
            f"{model['latency_ms']['p50']:.2f}",
            f"{ratio['speed']['median']:.2f}x",
        ]
        rows.append(cells)
    seconds = sum(document["seconds"].values())
    return (
        table(["model", "GMAC", "MB", "mAP", "R1", "p50 ms", "speed"], rows) + f"\n{seconds:.0f} s in all.\n"
    )


def precision(document: Document) -> str:
    """Return the table of numeric precisions, with a row for each exported file of each model, such as its FP16 file.

    Each row has the file size, the accuracy, and the agreement with the original model that the quality gate of the export measured.
    """
    rows = []
    for row in document["rows"]:
        pairs = [row["anny_reid"], row["other"]["test"], row["other"]["all"]]
        scores = [f"{100 * pair['mAP']:.1f} / {100 * pair['R1']:.1f}" for pair in pairs]
        sensitivity = row["sensitivity"]
        groups = f"{row['int8_groups']} of {len(sensitivity['rows'])}" if sensitivity else "-"
        gate = [f"{row['gate']['cosine_min']:.6f}", f"{row['gate']['top1']:.3f}", groups]
        rows.append([row["model"], FILES[row["file"]], f"{row['bytes'] / 1e6:.1f}", *scores, *gate])
    names = [
        "Anny-ReID mAP / R1",
        "30 people mAP / R1",
        "74 people mAP / R1",
        "lowest cosine",
        "top-1",
        "INT8 groups",
    ]
    return table(["model", "file", "MB", *names], rows)


def dimensions(document: Document) -> str:
    """Return the table of features of fewer numbers, with a row for each model, number and set of crops of the projection's fit."""
    sizes = document["gallery_bytes_per_1000_rows"]
    rows = []
    for row in document["rows"]:
        scores = [
            f"{100 * row[key]['mAP']:.1f} / {100 * row[key]['R1']:.1f}"
            for key in ("rendered", "real", "calibrated")
        ]
        low, high = (100 * value for value in row["minus_all_95"]["calibrated"]) if row["fit"] else (0.0, 0.0)
        cells = [DIMENSIONS[row["model"]], str(row["dim"]), CROPS[row["fit"]], *scores]
        cells.append(f"{low:+.1f} to {high:+.1f}" if row["fit"] else "")
        rows.append([*cells, f"{sizes[str(row['dim'])] / 1e6:.2f}"])
    names = ["Anny-ReID mAP / R1", "30 people mAP / R1", "calibrated mAP / R1", "calibrated mAP - all (95 %)"]
    return table(["model", "numbers", "fitted on", *names, "MB per 1,000 rows"], rows)


def rtx(document: Document) -> str:
    """Return the table of TensorRT-RTX builds, with a row for each model, pruned or not, at each precision.

    A row has the build time in seconds for each compute capability, and the largest of its file sizes and peak memories.
    """
    groups: dict[tuple[str, str, str], list[Document]] = {}
    for row in document["rows"]:
        groups.setdefault((row["model"], row["form"], row["precision"]), []).append(row)
    rows = []
    for (model, form, kind), builds in groups.items():
        seconds = " / ".join(f"{build['seconds']:.1f}" for build in builds)
        sizes = [f"{max(build[key] for build in builds) / 1e6:.1f}" for key in ("engine_bytes", "onnx_bytes")]
        counts = [str(max(build[key] for build in builds)) for key in ("peak_mib", "fused_attention_strings")]
        rows.append([model, form, kind.upper(), seconds, *sizes, *counts])
    names = ["build s", "engine MB", "ONNX MB", "peak MiB", "fused attention strings"]
    return table(["model", "form", "precision", *names], rows)


def ranking(document: Document) -> str:
    """Return the table of the seconds and the peak memory of evaluation and re-ranking at the size of Market-1501."""
    rows = [
        [run["part"], f"{run['queries']:,} x {run['gallery']:,} x {run['dim']}"]
        + [f"{run['wall_s']:.1f}", f"{run['cpu_s']:.1f}", f"{run['peak_rss_mib']:.0f}"]
        for run in document["results"]
    ]
    return table(["part", "size", "s", "CPU s", "peak MiB"], rows)


def peak(document: Document) -> str:
    """Return the table that compares the arithmetic speed of full-size models with that of one large matrix product."""
    side = document["products"][0]["side"]
    rows = [
        [
            f"one {side} x {side} x {side} product, {product['precision'].upper()}",
            LABELS["onnxruntime"],
            f"{product['cpu_ms']:.0f}",
            f"{product['gops']:.0f}",
            "",
        ]
        for product in document["products"]
    ]
    for model in document["models"]:
        cells = [BASE[Path(model["path"]).name], LABELS[model["engine"]], f"{model['cpu_ms']:.0f}"]
        share = "-" if model["share"] is None else f"{100 * model['share']:.0f} %"
        rows.append([*cells, f"{model['gops']:.0f}", share])
    names = [
        "model or product",
        "backend",
        f"CPU ms, batch {document['batch']}",
        "10^9 operations per CPU second",
        "relative to the product",
    ]
    return table(names, rows)


def frames(document: Document) -> str:
    """Return the table of the shares of the model's throughput that boxes of frames reach, for each number of people in a frame."""
    rows = []
    for row in document["rows"]:
        cells = [FRAMES[Path(row["model"]).name], str(row["people"]), f"{row['people_per_s']:.1f}"]
        for form in ("embed_boxes", "embed_frames"):
            share, low, high, cpu = (100 * row[form][key] for key in ("share", "low", "high", "cpu_share"))
            cells += [f"{share:.0f} % ({low:.0f} .. {high:.0f})", f"{cpu:.0f} %"]
        rows.append(cells)
    names = ["model", "people", "model alone, people/s", "`embed_boxes`", "by CPU time"]
    return table([*names, "`embed_frames`", "by CPU time"], rows)


def pipeline(document: Document) -> str:
    """Return the table that compares feature extraction from files with the model alone on crops in memory.

    It also shows the peak memory of an extraction from few and from many files.
    """
    rates = [f"{document[key]:.1f}" for key in ("bare_images_per_s", "extract_images_per_s")]
    cells = [BASE[Path(document["model"]["path"]).name], LABELS[document["model"]["engine"]]]
    cells += [*rates, f"{100 * document['ratio']:.1f} %", f"{100 * document['cpu_ratio']:.1f} %"]
    rows = []
    for run in document["runs"]:
        parent = run["parent_peak_bytes"] / 2**20
        features = run["features_bytes"] / 2**20
        worker = max(run["workers_peak_bytes"]) / 2**20
        rows.append(
            [*cells, f"{run['images']:,}", f"{parent:.0f} ({features:.0f} for features)", f"{worker:.0f}"]
        )
        cells = [""] * len(cells)
    names = [
        "model",
        "backend",
        "model alone, images/s",
        "extract, images/s",
        "extract relative to the model alone",
        "the same by CPU time",
    ]
    return table([*names, "files", "peak MiB of the main process", "peak MiB of each worker process"], rows)


def predict(document: Document) -> str:
    """Return the table of how well a latency table predicts the measured latency of models that it does not contain."""
    errors = [100 * abs(point["error"]) for point in document["points"]]
    cells = [str(len(errors)), f"{document['spearman']:.3f}", f"{100 * document['median_error']:.1f} %"]
    names = ["unseen models", "rank correlation", "median error", "largest error"]
    return table(names, [[*cells, f"{max(errors):.1f} %"]])


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with the column headers `names`. Each of `rows` has the text of one cell per column."""
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
