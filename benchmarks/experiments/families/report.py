"""The tables of the families of checkpoints, from a result of `python -m benchmarks.experiments.families`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Table = tuple[list[str], list[list[str]]]


def counts_table(document: Mapping[str, Any]) -> Table:
    """Return the multiply-adds of one image before and after pruning, counted in three ways, and the parameters."""
    names = ["family", "paper GMAC", "reference GMAC", "folded GMAC", "million parameters"]
    return names, [[model["title"], *_counts(model)] for model in document["models"]]


def costs_table(document: dict[str, Any]) -> Table:
    """Return the multiply-adds, counted in three ways, the parameters, and the milliseconds before and after pruning."""
    names = [*counts_table({"models": []})[0], "FP32 ms", "INT8 ms"]
    rows = [
        [model["title"], *_counts(model), *(_times(model["latency"], kind) for kind in ("fp32", "int8"))]
        for model in document["models"]
    ]
    return names, rows


def gates_table(document: dict[str, Any]) -> Table:
    """Return the lowest cosine that each gate measured, the losses of the epoch of training, and the engines."""
    names = ["family", "loss, first and last quarter", "FP32", "FP16", "INT8", "RTX engine of FP16"]
    rows = []
    for model in document["models"]:
        training, engines = model["training"], model["engines"]
        losses = f"{training['first']:.2f} → {training['last']:.2f}"
        gates = [
            " / ".join(_cosine(model["gates"][f"{form}.{kind}"]) for form in ("unpruned", "pruned"))
            for kind in ("fp32", "fp16", "int8")
        ]
        sizes = [engines.get(form) for form in ("unpruned", "pruned")]
        built = " / ".join(f"{size['bytes'] / 2**20:.0f} MiB" if size else "–" for size in sizes)
        rows.append([model["title"], losses, *gates, built])
    return names, rows


def _counts(model: dict[str, Any]) -> list[str]:
    before, after = (model["macs"][form] for form in ("unpruned", "pruned"))
    macs = [
        f"{before[key] / 1e9:.2f} → {after[key] / 1e9:.2f}"
        for key in ("macs_paper", "macs_reference", "macs_folded")
    ]
    return [*macs, f"{before['params'] / 1e6:.1f} → {after['params'] / 1e6:.1f}"]


def _times(latency: dict[str, float], kind: str) -> str:
    """Return the milliseconds before and after pruning, "–" for a file that its gate refused."""
    times = [latency.get(f"{form}.{kind}") for form in ("unpruned", "pruned")]
    return " → ".join("–" if time is None else f"{time:.1f}" for time in times)


def _cosine(gate: dict[str, Any]) -> str:
    return f"{gate['cosine_min']:.6f}" if gate["passed"] else "refused"
