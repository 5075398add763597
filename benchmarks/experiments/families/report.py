"""The tables of the families of checkpoints, from a result of `python -m benchmarks.experiments.families`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Table = tuple[list[str], list[list[str]]]


def counts_table(document: Mapping[str, Any]) -> Table:
    """Return the multiply-adds of one image before and after pruning, counted in three ways, and the parameters."""
    names = ["family", "paper GMAC", "reference GMAC", "folded GMAC", "million parameters"]
    return names, [[model["title"], *_counts(model)] for model in document["models"]]


def costs_table(document: Mapping[str, Any]) -> Table:
    """Return the multiply-adds of the exported files, and the milliseconds of one image, before and after pruning."""
    names = ["family", "folded GMAC", "FP32 ms", "INT8 ms", "RTX engine of FP16", "seconds to build"]
    rows = []
    for model in document["models"]:
        engines = [model["engines"].get(form) for form in ("unpruned", "pruned")]
        rows.append(
            [
                model["title"],
                _counts(model)[2],
                *(_times(model["latency"], kind) for kind in ("fp32", "int8")),
                " → ".join(f"{engine['bytes'] / 2**20:.0f} MiB" if engine else "–" for engine in engines),
                " → ".join(f"{engine['seconds']:.0f}" if engine else "–" for engine in engines),
            ]
        )
    return names, rows


def gates_table(document: Mapping[str, Any]) -> Table:
    """Return the losses of the epoch of training, and the lowest cosine and the top-1 agreement that each gate measured."""
    names = ["family", "loss, first and last quarter", "FP32", "FP16", "INT8", "same top-1"]
    rows = []
    for model in document["models"]:
        training = model["training"]
        losses = f"{training['first']:.2f} → {training['last']:.2f}"
        gates = [
            " / ".join(_cosine(model["gates"][f"{form}.{kind}"]) for form in ("unpruned", "pruned"))
            for kind in ("fp32", "fp16", "int8")
        ]
        same = [gate["top1"] for gate in model["gates"].values() if gate["passed"]]
        rows.append([model["title"], losses, *gates, f"{min(same):.3f}" if same else "–"])
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
    return f"{gate['cosine_min']:.7f}" if gate["passed"] else "refused"
