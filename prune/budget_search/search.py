"""Find how many heads, tokens and MLP neurons each block keeps, so that a goal is met with the least feature drift.

Feature drift is the mean of 1 - cosine between the features of images before and after a block's lowest-scored heads, tokens or
neurons are removed, without fine-tuning. It is measured on held-out people: training people whose images are not used for the
scores. The predicted drift of a model is the sum of the drifts of its blocks, and that of a block the sum of the drifts of its
heads, tokens and neurons. The cost of a block comes from a latency table, or is its number of multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from prune.budget_search.goal import AXES, Goal
from prune.model.architecture import Architecture
from prune.model.surgery import keep_heads, keep_neurons, keep_tokens
from prune.model.transreid import TransReID
from prune.scoring.model_scores import Batch, features_of
from prune.scoring.scores import select_per_block
from runtime.errors import ConfigError

# the candidate numbers of kept tokens, as shares of all tokens
TOKEN_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
# the candidate numbers of kept MLP neurons, as shares of all neurons, rounded to a multiple of MULTIPLE, where TensorRT is fastest
NEURON_SHARES = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
MULTIPLE = 8
# costs are rounded to this fraction of their whole range, which is far finer than a latency is measured
BINS = 4000


class Scores(NamedTuple):
    """The scores of each prunable block l: of heads (h_l,), patch tokens (n_l - 1,) and MLP neurons (hidden_l,).

    The lowest are removed first. `neurons` is empty if no neurons may be removed.
    """

    heads: Sequence[Tensor]
    tokens: Sequence[Tensor]
    neurons: Sequence[Tensor]


class FeatureDrift(NamedTuple):
    """The feature drifts of one block, as {number kept: drift} for heads, for tokens (class token included) and for MLP neurons.

    The drift is 0 if all are kept.
    """

    heads: Mapping[int, float]
    tokens: Mapping[int, float]
    neurons: Mapping[int, float]


@dataclass(frozen=True)
class Option:
    """One choice for a block: how many heads, tokens and MLP neurons (`hidden`) it keeps, with the resulting cost and feature drift.

    `tokens` includes the class token. The cost is in milliseconds or multiply-adds.
    """

    heads: int
    tokens: int
    hidden: int
    cost: float
    feature_drift: float


@dataclass(frozen=True)
class Point:
    """The numbers that each prunable block of a model keeps, with the predicted cost and feature drift of the model.

    `tokens` include the class token, and `hidden` are MLP neurons. A cost is in milliseconds or multiply-adds.
    """

    heads: tuple[int, ...]
    tokens: tuple[int, ...]
    hidden: tuple[int, ...]
    cost: float
    feature_drift: float


def block_options(drift: FeatureDrift, cost: Callable[[int, int, int], float]) -> list[Option]:
    """Return the options of one block that no other option beats in both cost and feature drift, the cheapest first.

    `drift` has the measured drifts of this block, and `cost(heads, tokens, neurons)` returns the cost of a block with these counts.
    """
    options = [
        Option(h, t, m, cost(h, t, m), head_drift + token_drift + neuron_drift)
        for h, head_drift in drift.heads.items()
        for t, token_drift in drift.tokens.items()
        for m, neuron_drift in drift.neurons.items()
    ]
    return _undominated(options)


def _undominated(options: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for option in sorted(options, key=lambda option: (option.cost, option.feature_drift)):
        if not kept or option.feature_drift < kept[-1].feature_drift:
            kept.append(option)
    return kept


def frontier(blocks: Sequence[Sequence[Option]], fixed: float, *, bins: int = BINS) -> list[Point]:
    """Return one Point for each model that no other model beats in both predicted cost and feature drift, the cheapest first.

    `blocks` has the options of each prunable block, and `fixed` is the cost of everything outside these blocks. The points are
    built block by block. The range of possible costs is divided into `bins` equal steps; of all partial points whose costs round to
    the same step, only the one with the least drift is continued.
    """
    low = sum(min(option.cost for option in options) for options in blocks)
    high = sum(max(option.cost for option in options) for options in blocks)
    step = (high - low) / bins or 1.0
    points = [Point((), (), (), 0.0, 0.0)]
    for options in blocks:
        best: dict[int, Point] = {}
        for point in points:
            for option in options:
                cost, drift = point.cost + option.cost, point.feature_drift + option.feature_drift
                key = round(cost / step)
                if key not in best or drift < best[key].feature_drift:
                    counts = (
                        (*point.heads, option.heads),
                        (*point.tokens, option.tokens),
                        (*point.hidden, option.hidden),
                    )
                    best[key] = Point(*counts, cost, drift)
        points = _undominated(list(best.values()))
    return [replace(point, cost=fixed + point.cost) for point in points]


def least_drift_within(points: Sequence[Point], goal: Goal) -> Point:
    """Return the point with the least feature drift that costs at most `goal.value`; raise ConfigError when none is that cheap."""
    affordable = [point for point in points if point.cost <= goal.value]
    if not affordable:
        unit = "ms" if goal.kind == "latency_ms" else "multiply-adds"
        raise ConfigError(
            f"--goal {goal.kind}={goal.value:g}: the cheapest pruned model costs "
            f"{min(point.cost for point in points):g} {unit}; raise the goal"
        )
    return min(affordable, key=lambda point: point.feature_drift)


def cheapest_above(points: Sequence[Point], goal: Goal, measure: Callable[[Point], float]) -> Point:
    """Return the cheapest point whose measured mAP reaches `goal.value`.

    `measure(point)` returns the mAP (0..1) of the model that the point describes. The point is found by bisection, which assumes
    that mAP rises with cost, because costlier points change the features less. Raises ConfigError when even the most expensive
    point does not reach the goal.
    """
    ordered = sorted(points, key=lambda point: point.cost)
    reached = measure(ordered[-1])
    if reached < goal.value:
        raise ConfigError(
            f"--goal map={goal.value:g}: even the unpruned model has only an mAP of {reached:.3f} on the training people held out "
            "for the search; lower the goal"
        )
    low, high = 0, len(ordered) - 1
    while low < high:
        middle = (low + high) // 2
        if measure(ordered[middle]) >= goal.value:
            high = middle
        else:
            low = middle + 1
    return ordered[high]


def token_counts(total: int) -> list[int]:
    """Return the numbers of tokens that the search tries to keep in a block: `total`, 90 % of it, 80 % and so on, down to 30 %.

    These are the TOKEN_SHARES of `total`, rounded to whole numbers of at least 2. `total` and the result include the class token.
    """
    return sorted({max(2, round(share * total)) for share in TOKEN_SHARES}, reverse=True)


def neuron_counts(total: int) -> list[int]:
    """Return the numbers of MLP neurons that the search tries to keep in a block: `total` and smaller shares of it, descending.

    The shares are NEURON_SHARES. The smaller numbers are rounded to multiples of MULTIPLE.
    """
    fewer = {max(MULTIPLE, round(share * total / MULTIPLE) * MULTIPLE) for share in NEURON_SHARES}
    return sorted({total} | {count for count in fewer if count < total}, reverse=True)


def prune_to_counts(
    model: TransReID,
    heads: Sequence[int],
    tokens: Sequence[int],
    hidden: Sequence[int],
    scores: Scores,
) -> TransReID:
    """Return a new model in which each prunable block keeps these numbers of heads, tokens (with the class token) and MLP neurons.

    In each block, the heads, patch tokens and neurons with the lowest scores are removed.
    """
    architecture, leading = model.architecture, model.architecture.leading
    positions, _ = select_per_block(scores.heads, heads)
    patch_positions, _ = select_per_block(scores.tokens, [max(count - leading, 0) for count in tokens])
    ids = [
        [architecture.blocks[block].tokens[position + leading] for position in kept]
        for block, kept in enumerate(patch_positions)
    ]
    pruned = keep_tokens(keep_heads(model, positions), ids)
    if tuple(hidden) == architecture.hidden[: architecture.prunable]:
        return pruned
    return keep_neurons(pruned, select_per_block(scores.neurons, hidden)[0])


def measure_feature_drift(
    model: TransReID,
    scores: Scores,
    batches: Sequence[Batch],
    *,
    over: Sequence[str] = AXES,
    progress: Callable[[int], None] = lambda done: None,
) -> list[FeatureDrift]:
    """Return the feature drift of every prunable block for every candidate number, measured on `batches` of held-out people.

    The candidate numbers are those of `candidate_counts`. Each measurement prunes the heads, the tokens or the neurons of one block
    to one of these numbers and leaves everything else whole. `over` says which of "heads", "tokens" and "neurons" are measured. The
    others have a single entry: the drift 0 for keeping all of them. `progress(1)` is called after every measurement.
    """
    architecture = model.architecture
    features = features_of(model, batches)
    candidates = candidate_counts(architecture)
    whole = {axis: [counts[0]] * architecture.prunable for axis, counts in candidates.items()}

    def measure(axis: str, block: int, count: int) -> float:
        kept = whole | {axis: [*whole[axis][:block], count, *whole[axis][block + 1 :]]}
        pruned = prune_to_counts(model, kept["heads"], kept["tokens"], kept["neurons"], scores)
        cosines = (features_of(pruned, batches) * features).sum(dim=1)
        progress(1)
        return float((1 - cosines).mean())

    def drift_by_count(axis: str, block: int) -> dict[int, float]:
        every, *fewer = candidates[axis]
        return _monotone(
            {every: 0.0} | {count: measure(axis, block, count) for count in fewer if axis in over}
        )

    return [
        FeatureDrift(*(drift_by_count(axis, block) for axis in AXES))
        for block in range(architecture.prunable)
    ]


def candidate_counts(architecture: Architecture) -> dict[str, list[int]]:
    """Return {"heads": [..], "tokens": [..], "neurons": [..]}: the numbers that a block of an unpruned model may keep, descending."""
    return {
        "heads": list(range(architecture.vit.heads, 0, -1)),
        "tokens": token_counts(architecture.tokens),
        "neurons": neuron_counts(architecture.vit.hidden),
    }


def _monotone(drifts: Mapping[int, float]) -> dict[int, float]:
    """Remove measurement noise: return drifts of at least 0 that do not grow with the number that is kept."""
    monotone: dict[int, float] = {}
    least = np.inf
    for count in sorted(drifts):
        least = min(least, max(drifts[count], 0.0))
        monotone[count] = least
    return monotone
