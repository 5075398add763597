"""The rows of the documents' measured tables, each from one committed result. Plain Markdown; reads no files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.options.backends import ONNX_BACKENDS

Document = Mapping[str, Any]

# The files of the run of full-size models, as the commands of docs/performance.md name them -> words
BASE = {
    "plain.onnx": "plain form, unpruned",
    "folded.onnx": "folded, unpruned",
    "h25.onnx": "folded, h25/t25",
    "h40.onnx": "folded, h40/t40",
    "h25.int8.onnx": "folded, h25/t25, INT8",
    "unpruned.safetensors": "plain form, unpruned",
    "h25.safetensors": "as AMG prunes it, h25/t25",
}
LABELS = {name: backend.label for name, backend in ONNX_BACKENDS.items()} | {
    "torch": "torch eager",
    "torch.compile": "torch.compile",
}
# What the README shows of them: (file, backend)
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
FILES = {
    "fp32": "FP32",
    "fp16": "FP16, `tensorrt`",
    "int8": "INT8, `onnxruntime`",
    "int8trt": "INT8, `tensorrt`",
    "int8trt8": "INT8, `tensorrt8`",
}


def base(document: Document) -> str:
    """Full-size models on every backend, a column of times and one of ratios for each batch size."""
    batches = list(dict.fromkeys(model["batch"] for model in document["models"]))
    first = [model for model in document["models"] if model["batch"] == batches[0]]
    columns = [
        f"batch {batch}, {what}"
        for batch in batches
        for what in ("ms", "times as fast (95 %)", "by CPU time")
    ]
    rows = []
    for index, model in enumerate(first):
        cells = [BASE[Path(model["path"]).name], LABELS[model["engine"]]]
        cells.append(f"{model['macs_folded' if model['form'] == 'folded' else 'macs_reference'] / 1e9:.2f}")
        for number in range(len(batches)):
            at = number * len(first) + index
            timed, ratio = document["models"][at], document["ratios"][at]
            sure = ratio["interval_95"]
            cells += [
                f"{timed['latency_ms']['p50']:.0f}",
                f"{sure['ratio']:.2f} ({sure['low']:.2f} .. {sure['high']:.2f})",
                f"{ratio['cpu_speed']['median']:.2f}",
            ]
        rows.append(cells)
    return table(["model", "backend", "GMAC", *columns], rows)


def speed(document: Document) -> str:
    """The fastest form of each step for a full-size model: the rows of `base` that the README shows."""
    batches = list(dict.fromkeys(model["batch"] for model in document["models"]))
    count = len(document["models"]) // len(batches)
    rows = []
    for index, model in enumerate(document["models"][:count]):
        if (Path(model["path"]).name, model["engine"]) not in SPEED:
            continue
        cells = [BASE[Path(model["path"]).name], LABELS[model["engine"]]]
        for at in range(index, len(document["models"]), count):
            cells += [
                f"{document['models'][at]['latency_ms']['p50']:.0f}",
                f"{document['ratios'][at]['interval_95']['ratio']:.2f}x",
            ]
        rows.append(cells)
    columns = [f"batch {batch}, {what}" for batch in batches for what in ("ms", "times as fast")]
    return table(["model", "backend", *columns], rows)


def demo(document: Document) -> str:
    """What `make demo` printed."""
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
    """What each precision costs."""
    rows = []
    for one in document["rows"]:
        pairs = [one["anny_reid"], one["other"]["test"], one["other"]["all"]]
        scores = [f"{100 * pair['mAP']:.1f} / {100 * pair['R1']:.1f}" for pair in pairs]
        sensitivity = one["sensitivity"]
        groups = f"{one['int8_groups']} of {len(sensitivity['rows'])}" if sensitivity else "-"
        gate = [f"{one['gate']['cosine_min']:.6f}", f"{one['gate']['top1']:.3f}", groups]
        rows.append([one["model"], FILES[one["file"]], f"{one['bytes'] / 1e6:.1f}", *scores, *gate])
    names = [
        "Anny-ReID mAP / R1",
        "30 people mAP / R1",
        "74 people mAP / R1",
        "lowest cosine",
        "top-1",
        "INT8 groups",
    ]
    return table(["model", "file", "MB", *names], rows)


def rtx(document: Document) -> str:
    """TensorRT-RTX builds; a row for both compute capabilities."""
    groups: dict[tuple[str, str, str], list[Document]] = {}
    for one in document["rows"]:
        groups.setdefault((one["model"], one["form"], one["precision"]), []).append(one)
    rows = []
    for (model, form, kind), found in groups.items():
        seconds = " / ".join(f"{one['seconds']:.1f}" for one in found)
        sizes = [f"{max(one[key] for one in found) / 1e6:.1f}" for key in ("engine_bytes", "onnx_bytes")]
        rest = [str(max(one[key] for one in found)) for key in ("peak_mib", "fused_attention_strings")]
        rows.append([model, form, kind.upper(), seconds, *sizes, *rest])
    names = ["build s", "engine MB", "ONNX MB", "peak MiB", "fused attention strings"]
    return table(["model", "form", "precision", *names], rows)


def ranking(document: Document) -> str:
    """Evaluation and re-ranking at Market-1501's size."""
    rows = [
        [one["part"], f"{one['queries']:,} x {one['gallery']:,} x {one['dim']}"]
        + [f"{one['wall_s']:.1f}", f"{one['cpu_s']:.1f}", f"{one['peak_rss_mib']:.0f}"]
        for one in document["results"]
    ]
    return table(["part", "size", "s", "CPU s", "peak MiB"], rows)


def peak(document: Document) -> str:
    """Full-size models against what one matrix product reaches."""
    side = document["products"][0]["side"]
    rows = [
        [
            f"one {side} x {side} x {side} product, {one['precision'].upper()}",
            LABELS["onnxruntime"],
            f"{one['cpu_ms']:.0f}",
            f"{one['gops']:.0f}",
            "",
        ]
        for one in document["products"]
    ]
    for one in document["models"]:
        cells = [BASE[Path(one["path"]).name], LABELS[one["engine"]], f"{one['cpu_ms']:.0f}"]
        share = "-" if one["share"] is None else f"{100 * one['share']:.0f} %"
        rows.append([*cells, f"{one['gops']:.0f}", share])
    names = [
        "",
        "backend",
        f"CPU ms, batch {document['batch']}",
        "10^9 operations a CPU-second",
        "of the product",
    ]
    return table(names, rows)


def pipeline(document: Document) -> str:
    """Extraction from files against the bare backend, and its memory with few and many files."""
    rates = [f"{document[key]:.1f}" for key in ("bare_images_per_s", "extract_images_per_s")]
    cells = [BASE[Path(document["model"]["path"]).name], LABELS[document["model"]["engine"]]]
    cells += [*rates, f"{100 * document['ratio']:.1f} %", f"{100 * document['cpu_ratio']:.1f} %"]
    rows = []
    for run in document["runs"]:
        parent = run["parent_peak_bytes"] / 2**20
        features = run["features_bytes"] / 2**20
        worker = max(run["workers_peak_bytes"]) / 2**20
        rows.append(
            [*cells, f"{run['images']:,}", f"{parent:.0f}, {features:.0f} of it features", f"{worker:.0f}"]
        )
        cells = [""] * len(cells)
    names = [
        "",
        "backend",
        "bare backend, images/s",
        "extract, images/s",
        "extract of bare",
        "the same by CPU time",
    ]
    return table([*names, "files", "peak MiB, parent", "each worker"], rows)


def predict(document: Document) -> str:
    """How well a latency table tells what unseen models take."""
    errors = [100 * abs(point["error"]) for point in document["points"]]
    cells = [str(len(errors)), f"{document['spearman']:.3f}", f"{100 * document['median_error']:.1f} %"]
    names = ["unseen models", "rank correlation", "median error", "largest error"]
    return table(names, [[*cells, f"{max(errors):.1f} %"]])


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with the column names `names`."""
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
