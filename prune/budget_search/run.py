"""Run `prune.py --search`: score the model, measure its feature drift on held-out people, and choose what each block keeps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prune.budget_search.goal import AXES, SearchOptions
from prune.budget_search.latency import read_table
from prune.budget_search.search import (
    Point,
    Scores,
    block_options,
    candidate_counts,
    cheapest_above,
    frontier,
    least_drift_within,
    measure_feature_drift,
    prune_to_counts,
)
from prune.config.settings import PruneConfig
from prune.model.architecture import Architecture
from prune.model.flops import block_macs, macs_folded
from prune.model.removal import removed_count
from prune.model.transreid import TransReID
from prune.scoring.amg import Batches, head_ranking, measure_heads, measure_tokens, token_ranking
from prune.scoring.model_scores import Batch, Loss, features_of
from prune.scoring.thinning import measure_neurons
from prune.training.data import Crops, targets
from runtime.console import note, progress
from runtime.datasets import Item
from runtime.errors import ConfigError, DataError
from runtime.files.json_text import parse_json
from runtime.files.manifest import replacing
from runtime.images.preprocess import to_input
from runtime.ranking.metrics import evaluate
from runtime.spec import InputSpec

PARETO = "pareto.json"
# HELD_OUT is the share of the training people who are held out of the scores, with at most MOST_IMAGES images in all; the model is
# chosen on these images, in batches of BATCH
HELD_OUT, MOST_IMAGES, BATCH = 0.25, 256, 32


def held_out(
    items: Sequence[Item], camids: Sequence[int]
) -> tuple[tuple[Item, ...], tuple[Item, ...], NDArray[np.int64]]:
    """Hold out every fourth training person; return (items of the others, held-out items, camera ids (M,) of the held-out items).

    The items of the other people serve to compute scores. The held-out items serve to choose the model; at most MOST_IMAGES of them
    are kept, evenly spaced. `camids` (N,) are the real camera ids of `items`. The field `camid` of an item cannot be used: it is -1
    if the model was trained on another data set. Raises DataError when fewer than two people would be held out, or when none of
    them has images of two cameras.
    """
    people = sorted({item.pid for item in items})
    held_out_people = set(people[:: round(1 / HELD_OUT)])
    rest = tuple(item for item in items if item.pid not in held_out_people)
    candidates = [index for index, item in enumerate(items) if item.pid in held_out_people]
    spread = np.unique(np.linspace(0, len(candidates) - 1, MOST_IMAGES).astype(int))
    chosen = [candidates[position] for position in spread]
    cameras: dict[int, set[int]] = {}
    for index in chosen:
        cameras.setdefault(items[index].pid, set()).add(camids[index])
    if len(held_out_people) < 2 or not any(len(seen) > 1 for seen in cameras.values()):
        raise DataError(
            f"--search: the people held out for measuring ({HELD_OUT:.0%} of the training people) must be at least two, one of them "
            "seen by two cameras; give a larger data set with --data"
        )
    return rest, tuple(items[index] for index in chosen), np.array([camids[index] for index in chosen])


def batches_of(items: Sequence[Item], spec: InputSpec, device: str) -> list[Batch]:
    """Return all items, in their order, as batches of up to BATCH images on `device`.

    A batch is (images (B, 3, H, W) float32 normalised, person ids (B,), indices (B,) of the camera embeddings or None).
    """
    crops = Crops(items, spec)
    pids = [item.pid for item in items]
    batches = []
    for start in range(0, len(items), BATCH):
        indices = range(start, min(start + BATCH, len(items)))
        labels, rows = targets(crops, pids, indices)
        images = torch.from_numpy(to_input(crops(indices), spec))
        batches.append((images.to(device), labels.to(device), None if rows is None else rows.to(device)))
    return batches


def costs(
    architecture: Architecture, search: SearchOptions
) -> tuple[Callable[[int, int, int], float], float]:
    """Return (a function (heads, tokens, neurons) -> cost of a block, the cost of everything outside the prunable blocks).

    Costs are milliseconds if the search has a latency table and its goal is not macs, and otherwise multiply-adds per image. Raises
    ConfigError as `read_table` does, and when the search may prune neurons but the latency table was measured only with unpruned
    MLPs.
    """
    if search.table is not None and search.goal.kind != "macs":
        table = read_table(search.table, architecture)
        if "neurons" in search.over and len(table.widths) == 1:
            raise ConfigError(
                f"--latency-table {search.table} has no times for narrower MLPs; search with --over heads,tokens, or export "
                "the blocks again and measure a new table from them: python export_onnx.py MODEL.safetensors --out MODEL.onnx --blocks"
            )
        return table.block_ms, table.fixed_ms

    def macs(heads: int, tokens: int, hidden: int) -> int:
        return block_macs(architecture, tokens, tokens, tokens, heads, hidden=hidden)

    return macs, macs_folded(architecture) - architecture.prunable * macs(
        architecture.vit.heads, architecture.tokens, architecture.vit.hidden
    )


def mean_average_precision(model: TransReID, batches: Sequence[Batch], camids: NDArray[np.int64]) -> float:
    """Return the mAP (0..1) of the model, with every image of `batches` as a query and all of them as the gallery.

    `camids` (N,) are the real camera ids of the images. Images of the query's person from the query's camera do not count.
    """
    features = features_of(model, batches).cpu().numpy()
    pids = np.concatenate([labels.cpu().numpy() for _, labels, _ in batches])
    return float(evaluate(features, pids, camids, features, pids, camids).mAP)


def run_search(
    model: TransReID,
    search: SearchOptions,
    config: PruneConfig,
    items: Sequence[Item],
    camids: Sequence[int],
    spec: InputSpec,
    *,
    batch_source: Callable[[Sequence[Item]], Batches],
    loss: Loss,
    out: Path,
    device: str,
) -> PruneConfig:
    """Return `config` with the counts per block that meet the goal of `search`, and write the result to `out`/pareto.json.

    The file has the counts, cost and feature drift of the chosen model, and those of up to 200 of the models that
    `prune.budget_search.search.frontier` returns (as points). If pareto.json already has the result of the same search, as after a
    stopped run, nothing is measured again.

    `items` are the training images and `camids` their real camera ids (see `held_out`). `spec` is the input of the torch model
    (float-nchw), and `device` is the torch device of `model`. `batch_source(images)` returns a function that iterates over the
    scoring batches of these training images. `loss(model, images, labels, camera_rows)` returns the scalar whose gradient scores
    tokens and neurons. Raises ConfigError when the options contradict the configuration or the model, or when no model meets the goal.
    """
    _check(model.architecture, search, config)
    path, settings = out / PARETO, search.to_json() | {"config": dataclasses.asdict(config)}
    result = _stored_result(path, json.loads(json.dumps(settings)))
    if result is None:
        result = _search(
            model, search, config, items, camids, spec, batch_source=batch_source, loss=loss, device=device
        )
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"asked": settings} | result, indent=1) + "\n")
    chosen = result["chosen"]
    note(
        f"search: heads per block {chosen['heads']}, tokens {chosen['tokens']}, MLP neurons {chosen['hidden']}; "
        f"predicted {result['unit']} {chosen['cost']:.4g}"
    )
    no_other_rule = {"fraction": 0.0, "count": None, "rounds": 1, "multiple": 1}
    prunes_mlp = set(chosen["hidden"]) != {model.architecture.vit.hidden}
    return dataclasses.replace(
        config,
        mlp=dataclasses.replace(config.mlp, kept=tuple(chosen["hidden"]) if prunes_mlp else ()),
        heads=dataclasses.replace(config.heads, kept=tuple(chosen["heads"]), **no_other_rule),
        tokens=dataclasses.replace(config.tokens, kept=tuple(chosen["tokens"]), **no_other_rule),
    )


def _search(
    model: TransReID,
    search: SearchOptions,
    config: PruneConfig,
    items: Sequence[Item],
    camids: Sequence[int],
    spec: InputSpec,
    *,
    batch_source: Callable[[Sequence[Item]], Batches],
    loss: Loss,
    device: str,
) -> dict[str, Any]:
    scored_items, held_out_items, cameras = held_out(items, camids)
    cost, fixed = costs(model.architecture, search)
    scoring_batches = batch_source(scored_items)
    scores = Scores(
        head_ranking(measure_heads(model, config, scoring_batches), config.heads),
        token_ranking(measure_tokens(model, config, scoring_batches, loss), config.tokens),
        measure_neurons(model, config.mlp, scoring_batches, loss) if "neurons" in search.over else (),
    )
    batches = batches_of(held_out_items, spec, device)
    architecture = model.architecture
    note(
        f"search: measuring the feature drift of {architecture.prunable} blocks on {len(held_out_items)} images of "
        "held-out people"
    )
    measurements = [
        len(counts) - 1 for axis, counts in candidate_counts(architecture).items() if axis in search.over
    ]
    with progress("search", architecture.prunable * sum(measurements)) as advance:
        drifts = measure_feature_drift(model, scores, batches, over=search.over, progress=advance)
    points = frontier([block_options(drift, cost) for drift in drifts], fixed)

    def measured_map(point: Point) -> float:
        pruned = prune_to_counts(model, point.heads, point.tokens, point.hidden, scores)
        return mean_average_precision(pruned, batches, cameras)

    if search.goal.kind == "map":
        chosen = cheapest_above(points, search.goal, measured_map)
    else:
        chosen = least_drift_within(points, search.goal)
    return {
        "unit": "macs" if search.table is None or search.goal.kind == "macs" else "ms",
        "held_out": {"images": len(held_out_items), "people": len({item.pid for item in held_out_items})},
        "held_out_map": {
            "whole": mean_average_precision(model, batches, cameras),
            "chosen": measured_map(chosen),
        },
        "chosen": _point_json(chosen),
        "damages": [drift._asdict() for drift in drifts],
        "points": [_point_json(point) for point in _thinned(points)],
    }


def _point_json(point: Point) -> dict[str, Any]:
    fields = dataclasses.asdict(point)
    # the key in the file, damage, is older than the name of the field
    return fields | {"damage": fields.pop("feature_drift")}


def _thinned(points: Sequence[Point], most: int = 200) -> Iterable[Point]:
    return (points[index] for index in np.unique(np.linspace(0, len(points) - 1, most).astype(int)))


def _check(architecture: Architecture, search: SearchOptions, config: PruneConfig) -> None:
    if search.goal.kind == "latency_ms" and search.table is None:
        raise ConfigError(
            "--goal latency_ms: add --latency-table with a table that python -m benchmarks.latency_table measured on the target"
        )
    if config.mode != "bypass" or architecture.mode != "bypass":
        raise ConfigError(
            "--search: needs prune.mode bypass, because the cost of a block can be predicted only in this mode; "
            "set prune.mode=bypass and give --weights of an unpruned model"
        )
    if unknown := [axis for axis in search.over if axis not in AXES]:
        raise ConfigError(f"--over {unknown[0]}: choose from {','.join(AXES)}")
    if config.mlp.cuts or removed_count(architecture, config.blocks.removed):
        raise ConfigError(
            "--search: chooses the numbers of MLP neurons itself and removes no blocks; remove the sections prune.mlp and "
            "prune.blocks from the configuration"
        )
    whole = (architecture.vit.heads, architecture.tokens, architecture.vit.hidden)
    kept = zip(architecture.blocks, architecture.hidden)
    if any((len(block.heads), len(block.tokens), hidden) != whole for block, hidden in kept):
        raise ConfigError("--search: the model is already pruned; give --weights of an unpruned model")


def _stored_result(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    try:
        stored: dict[str, Any] = parse_json(path.read_text())
        return stored if stored["asked"] == settings else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
