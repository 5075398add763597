"""`prune.py --search`: scores, damages on held-out people, the frontier, and the point that the goal asks for. Writes pareto.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prune.budget_search.goal import AXES, Search
from prune.budget_search.latency import read_table
from prune.budget_search.search import (
    Point,
    Scores,
    block_options,
    cheapest_above,
    cheapest_within,
    damages,
    frontier,
    pruned_to,
    tried_counts,
)
from prune.config.settings import PruneConfig
from prune.model.architecture import Architecture, removed_count
from prune.model.flops import block_macs, macs_folded
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
# of the training people, so many are kept out of the scores, to choose on
HELD_OUT, MOST_IMAGES, BATCH = 0.25, 256, 32


def held_out(
    items: Sequence[Item], camids: Sequence[int]
) -> tuple[tuple[Item, ...], tuple[Item, ...], NDArray[np.int64]]:
    """(items to score on, items to choose on, the cameras of the latter (M,)).

    Every fourth person is held out, evenly thinned to `MOST_IMAGES` images. `camids` (N,) are the real cameras: an item's own says
    what the model is told, nothing on another data set than its own. DataError when nobody is left with pictures from two cameras.
    """
    people = sorted({item.pid for item in items})
    chosen = set(people[:: round(1 / HELD_OUT)])
    rest = tuple(item for item in items if item.pid not in chosen)
    mine = [index for index, item in enumerate(items) if item.pid in chosen]
    some = [mine[place] for place in np.unique(np.linspace(0, len(mine) - 1, MOST_IMAGES).astype(int))]
    cameras: dict[int, set[int]] = {}
    for index in some:
        cameras.setdefault(items[index].pid, set()).add(camids[index])
    if len(chosen) < 2 or not any(len(seen) > 1 for seen in cameras.values()):
        raise DataError(
            "--search: too few training people seen by two cameras to hold some out; give more data"
        )
    return rest, tuple(items[index] for index in some), np.array([camids[index] for index in some])


def batches_of(items: Sequence[Item], spec: InputSpec, device: str) -> list[Batch]:
    """All items as batches of 32, in their order; the labels are the people's ids."""
    crops = Crops(items, spec)
    pids = [item.pid for item in items]
    made = []
    for start in range(0, len(items), BATCH):
        indices = range(start, min(start + BATCH, len(items)))
        labels, rows = targets(crops, pids, indices)
        images = torch.from_numpy(to_input(crops(indices), spec))
        made.append((images.to(device), labels.to(device), None if rows is None else rows.to(device)))
    return made


def costs(architecture: Architecture, search: Search) -> tuple[Callable[[int, int, int], float], float]:
    """(cost of a block by heads, tokens and neurons, cost of the rest): milliseconds with a table, else multiply-adds."""
    if search.table is not None and search.goal.kind != "macs":
        table = read_table(search.table, architecture)
        if "neurons" in search.over and len(table.widths) == 1:
            raise ConfigError(
                f"--latency-table {search.table}: no narrower MLPs in it; search with --over heads,tokens, or measure anew after: "
                "python export_onnx.py MODEL.safetensors --out MODEL.onnx --blocks"
            )
        return table.block_ms, table.fixed_ms

    def macs(heads: int, tokens: int, hidden: int) -> int:
        return block_macs(architecture, tokens, tokens, tokens, heads, hidden=hidden)

    return macs, macs_folded(architecture) - architecture.prunable * macs(
        architecture.vit.heads, architecture.tokens, architecture.vit.hidden
    )


def mean_average_precision(model: TransReID, batches: Sequence[Batch], camids: NDArray[np.int64]) -> float:
    """mAP of every image against all images of other cameras; `camids` (N,) are the batches' real cameras."""
    features = features_of(model, batches).cpu().numpy()
    pids = np.concatenate([labels.cpu().numpy() for _, labels, _ in batches])
    return float(evaluate(features, pids, camids, features, pids, camids).mAP)


def find(
    model: TransReID,
    search: Search,
    config: PruneConfig,
    items: Sequence[Item],
    camids: Sequence[int],
    spec: InputSpec,
    *,
    scoring: Callable[[Sequence[Item]], Batches],
    loss: Loss,
    out: Path,
    device: str,
) -> PruneConfig:
    """The pruning settings with the counts per block that the goal asks for; `DIR/pareto.json` holds every point of the frontier.

    `scoring(items)` gives the scoring batches of some items; `camids` are the items' real cameras (see `held_out`). An interrupted
    run that asks the same finds its answer in pareto.json.
    """
    _refuse(model.architecture, search, config)
    path, asked = out / PARETO, search.asked() | {"config": dataclasses.asdict(config)}
    known = _known(path, json.loads(json.dumps(asked)))
    if known is None:
        known = _search(model, search, config, items, camids, spec, scoring=scoring, loss=loss, device=device)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"asked": asked} | known, indent=1) + "\n")
    chosen = known["chosen"]
    note(
        f"search: heads {chosen['heads']}, tokens {chosen['tokens']}, MLP neurons {chosen['hidden']}, "
        f"predicted {known['unit']} {chosen['cost']:.4g}"
    )
    clear = {"fraction": 0.0, "count": None, "rounds": 1, "multiple": 1}
    narrower = set(chosen["hidden"]) != {model.architecture.vit.hidden}
    return dataclasses.replace(
        config,
        mlp=dataclasses.replace(config.mlp, kept=tuple(chosen["hidden"]) if narrower else ()),
        heads=dataclasses.replace(config.heads, kept=tuple(chosen["heads"]), **clear),
        tokens=dataclasses.replace(config.tokens, kept=tuple(chosen["tokens"]), **clear),
    )


def _search(
    model: TransReID,
    search: Search,
    config: PruneConfig,
    items: Sequence[Item],
    camids: Sequence[int],
    spec: InputSpec,
    *,
    scoring: Callable[[Sequence[Item]], Batches],
    loss: Loss,
    device: str,
) -> dict[str, Any]:
    rest, chosen_on, cameras = held_out(items, camids)
    cost, fixed = costs(model.architecture, search)
    known = scoring(rest)
    scores = Scores(
        head_ranking(measure_heads(model, config, known), config.heads),
        token_ranking(measure_tokens(model, config, known, loss), config.tokens),
        measure_neurons(model, config.mlp, known, loss) if "neurons" in search.over else (),
    )
    batches = batches_of(chosen_on, spec, device)
    architecture = model.architecture
    note(f"search: damages of {architecture.prunable} blocks on {len(chosen_on)} images of people held out")
    fewer = [len(counts) - 1 for axis, counts in tried_counts(architecture).items() if axis in search.over]
    with progress("search", architecture.prunable * sum(fewer)) as advance:
        found = damages(model, scores, batches, over=search.over, progress=advance)
    points = frontier([block_options(one, cost) for one in found], fixed)

    def measured(point: Point) -> float:
        pruned = pruned_to(model, point.heads, point.tokens, point.hidden, scores)
        return mean_average_precision(pruned, batches, cameras)

    if search.goal.kind == "map":
        chosen = cheapest_above(points, search.goal, measured)
    else:
        chosen = cheapest_within(points, search.goal)
    return {
        "unit": "macs" if search.table is None or search.goal.kind == "macs" else "ms",
        "held_out": {"images": len(chosen_on), "people": len({item.pid for item in chosen_on})},
        "held_out_map": {
            "whole": mean_average_precision(model, batches, cameras),
            "chosen": measured(chosen),
        },
        "chosen": dataclasses.asdict(chosen),
        "damages": [one._asdict() for one in found],
        "points": [dataclasses.asdict(point) for point in _thinned(points)],
    }


def _thinned(points: Sequence[Point], most: int = 200) -> Iterable[Point]:
    return (points[index] for index in np.unique(np.linspace(0, len(points) - 1, most).astype(int)))


def _refuse(architecture: Architecture, search: Search, config: PruneConfig) -> None:
    if search.goal.kind == "latency_ms" and search.table is None:
        raise ConfigError(
            "--goal latency_ms: needs --latency-table, which python -m benchmarks.latency_table measures on the target"
        )
    if config.mode != "bypass" or architecture.mode != "bypass":
        raise ConfigError("--search: knows what blocks cost in prune.mode bypass only; set that")
    if wrong := [axis for axis in search.over if axis not in AXES]:
        raise ConfigError(f"--over {wrong[0]}: choose from {','.join(AXES)}")
    if config.mlp.cuts or removed_count(architecture, config.blocks.removed):
        raise ConfigError(
            "--search: chooses how many neurons stay itself, and removes no blocks; leave prune.mlp and prune.blocks as they are"
        )
    whole = (architecture.vit.heads, architecture.tokens, architecture.vit.hidden)
    kept = zip(architecture.blocks, architecture.hidden)
    if any((len(block.heads), len(block.tokens), hidden) != whole for block, hidden in kept):
        raise ConfigError("--search: starts from an unpruned model; give its weights")


def _known(path: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = parse_json(path.read_text())
        return found if found["asked"] == asked else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
