"""Time models with a random number of heads, tokens and MLP neurons in each block, and compare with a latency table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency_table.calls import model_call
from benchmarks.latency_table.table import read_cpu_table
from benchmarks.steps import run
from benchmarks.unfinished import written
from runtime.files.manifest import read_manifest
from runtime.host import stopwatch

# The smallest part of its heads, tokens and neurons that a random block keeps.
LEAST = 0.3


def random_counts(
    heads: int, tokens: int, hidden: int, blocks: int, seed: int
) -> tuple[list[int], list[int], list[int]]:
    """Return three lists: the numbers of heads, of tokens and of MLP neurons that each of `blocks` blocks keeps.

    `heads`, `tokens` and `hidden` are the numbers of an unpruned block. Each block keeps a random fraction of each, which is between
    `LEAST` and 1. Numbers of neurons are multiples of eight, as in the budget search. `seed` determines the numbers.
    """
    random = np.random.default_rng(seed)
    eights = random.integers(round(LEAST * hidden / 8), hidden // 8 + 1, blocks)
    return (
        random.integers(max(1, round(LEAST * heads)), heads + 1, blocks).tolist(),
        random.integers(max(2, round(LEAST * tokens)), tokens + 1, blocks).tolist(),
        (8 * eights).tolist(),
    )


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation (-1..1) of two series of equal length. Within a series, all values must differ."""
    a, b = (np.argsort(np.argsort(np.asarray(series))) for series in (first, second))
    return float(np.corrcoef(a, b)[0, 1])


def random_models(weights: Path, count: int, work: Path) -> list[Path]:
    """Return the ONNX files of `count` models with a random number of heads, tokens and neurons in each block.

    The models are pruned from the unpruned weights at `weights`, and exported into the folder `work`. A model that is already in the
    folder is not made again. Raises StepFailed if an export fails.
    """
    from prune.model.file import load_model, save_model
    from prune.model.surgery import keep_heads, keep_neurons, keep_tokens
    from runtime.spec import InputSpec

    model, manifest = load_model(weights)
    architecture, spec = model.architecture, InputSpec.from_json(manifest["input"], f"{weights}.json")
    made = []
    for seed in range(count):
        onnx = work / f"random{seed}.onnx"
        made.append(onnx)
        if onnx.exists():
            continue
        heads, tokens, hidden = random_counts(
            architecture.vit.heads, architecture.tokens, architecture.vit.hidden, architecture.prunable, seed
        )
        random = np.random.default_rng(seed)
        ids = [(1 + random.permutation(architecture.patches)[: kept - 1]).tolist() for kept in tokens]
        pruned = keep_tokens(
            keep_heads(model, [range(kept) for kept in heads]), [sorted(block_ids) for block_ids in ids]
        )
        pruned = keep_neurons(pruned, [range(kept) for kept in hidden])
        path = work / f"random{seed}.safetensors"
        save_model(pruned, path, spec, notes={"source": "random counts"})
        run(["export_onnx.py", str(path), "--out", str(onnx), "--gate", "off"])
    return made


def compared(table: Path, whole: Path, models: Sequence[Path], *, rounds: int, out: Path) -> dict[str, Any]:
    """Compare the times of `models` that the latency table at `table` predicts with those that are measured.

    Returns {table, points, drift, spearman, median_error, median_error_with_drift}. `table` has the settings of the latency table, and
    `points` has {model, heads, tokens, hidden, predicted_ms, measured_ms, drift, error} for each model. The calls of each model
    alternate with those of `whole`, the unpruned model of the table. Each of the two is called `rounds` times.

    The `drift` of a point is the time of `whole`, divided by its time in the table. Above 1, the machine is slower than it was for the
    table. The other `drift` is the median over the points. `error` is the relative error of the prediction, and `median_error` is the
    median of its absolute values. `spearman` is the rank correlation of the predicted and the measured times. For these three, each
    measured time is first divided by the `drift` of its point. `median_error_with_drift` is the median error without this correction.
    `out` is the path where the caller will write the result. If a signal stops the run, the finished points are written beside it (see
    `benchmarks.unfinished.written`).
    """
    from prune.budget_search.latency import read_table
    from prune.model.architecture import Architecture

    about = read_cpu_table(table)
    shapes = [
        Architecture.from_json(read_manifest(path).get("shape") or {}, f"{path}.json") for path in models
    ]
    predictor = read_table(table, shapes[0])

    def call(path: Path) -> Callable[[int], object]:
        return model_call(path, about["engine"], about["threads"], about["batch"])

    points: list[dict[str, Any]] = []
    settings = {key: about[key] for key in ("engine", "threads", "batch", "processor", "variant")}
    with written(
        out,
        lambda: {"table": settings, "points": points} if points else None,
        go_on="the same command uses the models in --work again",
    ):
        for path, architecture in zip(models, shapes):
            # Time pairs only. A dozen models in turns would push each other out of the caches, unlike a deployed model.
            pair = stopwatch.interleave([call(whole), call(path)], rounds=rounds)
            whole_ms, ms = (float(np.median(times.wall_ms)) for times in pair)
            drift = whole_ms / float(about["model_ms"])
            blocks = architecture.blocks[: architecture.prunable]
            heads, tokens = [len(block.heads) for block in blocks], [len(block.tokens) for block in blocks]
            hidden = list(architecture.hidden[: architecture.prunable])
            predicted = predictor.model_ms(heads, tokens, hidden)
            counts = {"model": path.name, "heads": heads, "tokens": tokens, "hidden": hidden}
            times = {"predicted_ms": predicted, "measured_ms": ms, "drift": drift}
            points.append(counts | times | {"error": predicted * drift / ms - 1})
    predictions, measured = ([point[key] for point in points] for key in ("predicted_ms", "measured_ms"))
    steady = [point["measured_ms"] / point["drift"] for point in points]
    return {
        "table": settings,
        "points": points,
        "drift": float(np.median([point["drift"] for point in points])),
        "spearman": spearman(predictions, steady),
        "median_error": float(np.median([abs(point["error"]) for point in points])),
        "median_error_with_drift": float(np.median(np.abs(np.divide(predictions, measured) - 1))),
    }
