"""Times and scores of pruned models, group by group, against one unpruned model. Draws nothing, and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_files import NUMBER, PART, listed, members, read_document
from benchmarks.latency_table.calls import model_call
from benchmarks.latency_table.table import read_cpu_table
from benchmarks.stats.bootstrap import paired_difference, query_precisions
from benchmarks.steps import run as run_step
from runtime.datasets import read_dataset
from runtime.host import stopwatch

SCORES = members({"mAP": PART, "R1": PART})
FLOPS = members(
    {"heads": listed(NUMBER), "tokens": listed(NUMBER), "macs_folded": NUMBER}, {"hidden": listed(NUMBER)}
)
RUN = members({"after": members({"scores": SCORES, "flops": FLOPS})})


@dataclass(frozen=True)
class Reference:
    """What pruned models are held to: the unpruned model, the facts of its latency table, and what predicts times from that."""

    whole: Path
    about: Mapping[str, Any]
    predictor: Any


def reference_of(table: Path, whole: Path) -> Reference:
    """The reference for the latency table at that path, whose own model is `whole`."""
    from prune.budget_search.latency import read_table
    from prune.model.architecture import Architecture

    about = read_cpu_table(table)
    architecture = Architecture.from_json(about["model"]["shape"], str(table))
    return Reference(whole, about, read_table(table, architecture))


def read_run(folder: Path) -> dict[str, Any]:
    """What prune.py wrote of the pruned model: {scores, flops}. ConfigError where it is no finished run."""
    advice = "give the folder of a finished run of prune.py, with --evaluate both or after"
    found: dict[str, Any] = read_document(
        folder / "result.json", RUN, expected="a result of prune.py", advice=advice
    )
    return dict(found["after"])


def group_of(name: str, folders: Sequence[Path], reference: Reference, *, rounds: int) -> dict[str, Any]:
    """A group's runs, each timed beside the unpruned model, and their means."""
    return summed(name, [measure(reference, folder, rounds) for folder in folders])


def exported(folder: Path) -> Path:
    """The run's model as ONNX beside it, exported where it is not there yet."""
    onnx = folder / "model.onnx"
    if not onnx.exists():
        run_step(["export_onnx.py", str(folder / "model.safetensors"), "--out", str(onnx)])
    return onnx.resolve()


def measure(reference: Reference, folder: Path, rounds: int) -> dict[str, Any]:
    """One run: its scores, counts, predicted time, and its time as a share of the whole model's in the same rounds."""
    about, result = reference.about, read_run(folder)
    flops = result["flops"]
    # without the JPM the last block is listed too, which is never pruned; runs from before MLPs were pruned do not list them
    counts = [flops[key][: about["prunable"]] for key in ("heads", "tokens", "hidden") if key in flops]
    setting = (about["engine"], about["threads"], about["batch"])
    pair = stopwatch.interleave(
        [model_call(path, *setting) for path in (reference.whole, exported(folder))], rounds=rounds
    )
    whole_ms, ms = (float(np.median(one.wall_ms)) for one in pair)
    return {
        "heads": flops["heads"],
        "tokens": flops["tokens"],
        "hidden": flops.get("hidden"),
        "macs_folded": flops["macs_folded"],
        "mAP": result["scores"]["mAP"],
        "R1": result["scores"]["R1"],
        "predicted_ms": reference.predictor.model_ms(*counts),
        # what the whole model took when the table was measured is the common yardstick
        "measured_ms": ms / whole_ms * about["model_ms"],
    }


def against_first(groups: Mapping[str, Sequence[Path]], data: Path) -> list[dict[str, float] | None]:
    """Return the `paired_difference` of every group's mAP from the first group's; None for the first group."""
    dataset = read_dataset(str(data))
    precisions = [
        [query_precisions(exported(folder), dataset) for folder in folders] for folders in groups.values()
    ]
    return [None, *(paired_difference(precisions[0], other) for other in precisions[1:])]


def summed(name: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A group's runs with the mean and standard deviation over seeds of what is compared."""
    found: dict[str, Any] = {"name": name, "runs": list(runs)}
    for key in ("mAP", "R1", "predicted_ms", "measured_ms", "macs_folded"):
        values = [run[key] for run in runs]
        found[key] = {
            "mean": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        }
    return found
