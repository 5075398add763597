"""Measure groups of pruned models: their scores, and their latency relative to that of one unpruned model."""

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
    """The unpruned model with which pruned models are compared.

    `whole` is the path of its ONNX file, and `about` the content of the latency table that was measured on it. `predictor` is a
    `prune.budget_search.latency.LatencyTable` from the same table. Its method `model_ms` predicts the milliseconds of a pruned model.
    """

    whole: Path
    about: Mapping[str, Any]
    predictor: Any


def reference_of(table: Path, whole: Path) -> Reference:
    """Return the Reference for the latency table at `table`, which was measured on the unpruned ONNX model `whole`.

    Raises ConfigError if the table is damaged.
    """
    from prune.budget_search.latency import read_table
    from prune.model.architecture import Architecture

    about = read_cpu_table(table)
    architecture = Architecture.from_json(about["model"]["shape"], str(table))
    return Reference(whole, about, read_table(table, architecture))


def read_run(folder: Path) -> dict[str, Any]:
    """Return {scores, flops} of the pruned model that prune.py wrote to `folder`, from its result.json.

    `scores` has mAP and R1 (0..1). `flops` has the number of multiply-adds (`macs_folded`), and three lists with one number for each
    block: `heads`, `tokens` and `hidden` (MLP neurons). Results of older versions lack `hidden`. Raises ConfigError if the run is not
    finished.
    """
    advice = "give the folder of a finished run of prune.py, with --evaluate both or after"
    result: dict[str, Any] = read_document(
        folder / "result.json", RUN, expected="a result of prune.py", advice=advice
    )
    return dict(result["after"])


def group_of(name: str, folders: Sequence[Path], reference: Reference, *, rounds: int) -> dict[str, Any]:
    """Measure the pruned model in each of `folders`, and return the dictionary that `summed` makes of the results.

    `name` is the name of the group that these models form. Each model is timed for `rounds` calls.
    """
    return summed(name, [measure(reference, folder, rounds) for folder in folders])


def exported(folder: Path) -> Path:
    """Return the path of the ONNX file of the pruned model in `folder`. If the file does not exist, export_onnx.py makes it."""
    onnx = folder / "model.onnx"
    if not onnx.exists():
        run_step(["export_onnx.py", str(folder / "model.safetensors"), "--out", str(onnx)])
    return onnx.resolve()


def measure(reference: Reference, folder: Path, rounds: int) -> dict[str, Any]:
    """Return {heads, tokens, hidden, macs_folded, mAP, R1, predicted_ms, measured_ms} of the pruned model in `folder`.

    mAP and R1 are in 0..1. `heads`, `tokens` and `hidden` (MLP neurons) have one number for each block, and `hidden` is None for
    runs of older versions. `macs_folded` is the number of multiply-adds for one image in the exported form of the model.

    `predicted_ms` comes from the latency table. For `measured_ms`, the pruned and the unpruned model are called once in each of
    `rounds` rounds. The median time of the pruned model is divided by that of the unpruned model, so that changes of the machine's
    speed cancel. `measured_ms` is this quotient, multiplied by the time of the unpruned model in the latency table.
    """
    about, result = reference.about, read_run(folder)
    flops = result["flops"]
    # Without the JPM, the list includes the last block, which is never pruned. Runs of older versions do not list MLP neurons.
    counts = [flops[key][: about["prunable"]] for key in ("heads", "tokens", "hidden") if key in flops]
    setting = (about["engine"], about["threads"], about["batch"])
    pair = stopwatch.interleave(
        [model_call(path, *setting) for path in (reference.whole, exported(folder))], rounds=rounds
    )
    whole_ms, ms = (float(np.median(times.wall_ms)) for times in pair)
    return {
        "heads": flops["heads"],
        "tokens": flops["tokens"],
        "hidden": flops.get("hidden"),
        "macs_folded": flops["macs_folded"],
        "mAP": result["scores"]["mAP"],
        "R1": result["scores"]["R1"],
        "predicted_ms": reference.predictor.model_ms(*counts),
        "measured_ms": ms / whole_ms * about["model_ms"],
    }


def against_first(groups: Mapping[str, Sequence[Path]], data: Path) -> list[dict[str, float] | None]:
    """Return a list with {difference, low, high} for each group: its mAP minus that of the first group, with a 95 % interval.

    `groups` maps a name to the folders of its pruned models, and `data` is the folder of the data set on which they are evaluated. The
    entry of the first group is None.
    """
    dataset = read_dataset(str(data))
    precisions = [
        [query_precisions(exported(folder), dataset) for folder in folders] for folders in groups.values()
    ]
    return [None, *(paired_difference(precisions[0], other) for other in precisions[1:])]


def summed(name: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return {name, runs, mAP, R1, predicted_ms, measured_ms, macs_folded} of a group of runs, one for each seed.

    `runs` are the results of `measure`, and the value of `runs` in the result is a list of them. Each of the last five keys has
    {mean, sd}: the mean and the sample standard deviation of this value over all runs. `sd` is None if there is only one run.
    """
    group: dict[str, Any] = {"name": name, "runs": list(runs)}
    for key in ("mAP", "R1", "predicted_ms", "measured_ms", "macs_folded"):
        values = [run[key] for run in runs]
        group[key] = {
            "mean": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        }
    return group
