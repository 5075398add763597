"""How many heads, tokens and MLP neurons each block keeps, so that a target is met at the least damage.

Pure but for `damages`, which runs the model. Damage is what removing a block's lowest-scored heads, tokens or neurons does to
the features of people held out: the mean of 1 - cosine, without fine-tuning. Damages of different blocks, and of a block's
heads, tokens and neurons, are added up; what a block costs comes from a latency table or from its multiply-adds.
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

# kept tokens that are tried, as shares of all
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
# kept MLP neurons, likewise; their numbers are multiples of `MULTIPLE`, as engines like them
WIDTHS = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
MULTIPLE = 8
# costs are told apart to this part of the whole range: far finer than a latency is measured
BINS = 4000


class Scores(NamedTuple):
    """Per prunable block (h_l,), (n_l - 1,) of the patch tokens and (hidden_l,); the lowest goes first."""

    heads: Sequence[Tensor]
    tokens: Sequence[Tensor]
    neurons: Sequence[Tensor]


class Damages(NamedTuple):
    """What keeping so many of one block does: count -> damage, 0 for all of them; tokens count the class token."""

    heads: Mapping[int, float]
    tokens: Mapping[int, float]
    neurons: Mapping[int, float]


@dataclass(frozen=True)
class Option:
    """What one block may keep, and what that costs and damages."""

    heads: int
    tokens: int
    hidden: int
    cost: float
    damage: float


@dataclass(frozen=True)
class Point:
    """A whole model: heads, tokens (class token included), MLP neurons kept in each prunable block, predicted cost and damage."""

    heads: tuple[int, ...]
    tokens: tuple[int, ...]
    hidden: tuple[int, ...]
    cost: float
    damage: float


def block_options(found: Damages, cost: Callable[[int, int, int], float]) -> list[Option]:
    """All counts of one block that no others beat in both cost and damage, the cheapest first; `cost(heads, tokens, neurons)`."""
    every = [
        Option(h, t, m, cost(h, t, m), head_damage + token_damage + neuron_damage)
        for h, head_damage in found.heads.items()
        for t, token_damage in found.tokens.items()
        for m, neuron_damage in found.neurons.items()
    ]
    return _undominated(every)


def _undominated(options: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for option in sorted(options, key=lambda one: (one.cost, one.damage)):
        if not kept or option.damage < kept[-1].damage:
            kept.append(option)
    return kept


def frontier(blocks: Sequence[Sequence[Option]], fixed: float, *, bins: int = BINS) -> list[Point]:
    """The models that no other beats in both predicted cost and damage, the cheapest first; `fixed` is the cost of the rest.

    Block by block, of all models that cost the same (to a `bins`th of the range) only the least damaged goes on.
    """
    low = sum(min(option.cost for option in options) for options in blocks)
    high = sum(max(option.cost for option in options) for options in blocks)
    step = (high - low) / bins or 1.0
    points = [Point((), (), (), 0.0, 0.0)]
    for options in blocks:
        best: dict[int, Point] = {}
        for point in points:
            for option in options:
                cost, damage = point.cost + option.cost, point.damage + option.damage
                key = round(cost / step)
                if key not in best or damage < best[key].damage:
                    counts = (
                        (*point.heads, option.heads),
                        (*point.tokens, option.tokens),
                        (*point.hidden, option.hidden),
                    )
                    best[key] = Point(*counts, cost, damage)
        points = _undominated(list(best.values()))
    return [replace(one, cost=fixed + one.cost) for one in points]


def cheapest_within(points: Sequence[Point], goal: Goal) -> Point:
    """The least damaged point that costs at most `goal.value`; ConfigError when none does."""
    affordable = [point for point in points if point.cost <= goal.value]
    if not affordable:
        raise ConfigError(
            f"--goal {goal.kind}={goal.value:g}: the cheapest model costs {min(point.cost for point in points):g}; ask for more"
        )
    return min(affordable, key=lambda point: point.damage)


def cheapest_above(points: Sequence[Point], goal: Goal, measure: Callable[[Point], float]) -> Point:
    """The cheapest point whose measured mAP reaches `goal.value`, by bisection: damage falls as cost grows.

    ConfigError when the most expensive one does not reach it.
    """
    ordered = sorted(points, key=lambda point: point.cost)
    reached = measure(ordered[-1])
    if reached < goal.value:
        raise ConfigError(
            f"--goal map={goal.value:g}: the whole model reaches {reached:.3f} on the held-out people; ask for less"
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
    """Numbers of kept tokens that are tried, the class token included, all of them first."""
    return sorted({max(2, round(share * total)) for share in SHARES}, reverse=True)


def neuron_counts(total: int) -> list[int]:
    """Numbers of kept MLP neurons that are tried, all of them first."""
    fewer = {max(MULTIPLE, round(share * total / MULTIPLE) * MULTIPLE) for share in WIDTHS}
    return sorted({total} | {count for count in fewer if count < total}, reverse=True)


def pruned_to(
    model: TransReID,
    heads: Sequence[int],
    tokens: Sequence[int],
    hidden: Sequence[int],
    scores: Scores,
) -> TransReID:
    """The model with so many heads, tokens (class token included) and MLP neurons in each prunable block, the lowest gone."""
    architecture = model.architecture
    positions, _ = select_per_block(scores.heads, heads)
    places, _ = select_per_block(scores.tokens, [count - 1 for count in tokens])
    ids = [
        [architecture.blocks[block].tokens[place + 1] for place in mine] for block, mine in enumerate(places)
    ]
    pruned = keep_tokens(keep_heads(model, positions), ids)
    if tuple(hidden) == architecture.hidden[: architecture.prunable]:
        return pruned
    return keep_neurons(pruned, select_per_block(scores.neurons, hidden)[0])


def damages(
    model: TransReID,
    scores: Scores,
    batches: Sequence[Batch],
    *,
    over: Sequence[str] = AXES,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Damages]:
    """Per prunable block, measured one count at a time on `batches` of held-out people; of what `over` names, the rest is kept."""
    architecture = model.architecture
    whole = features_of(model, batches)
    tried = tried_counts(architecture)
    all_of = {axis: [counts[0]] * architecture.prunable for axis, counts in tried.items()}

    def damage(axis: str, block: int, count: int) -> float:
        kept = all_of | {axis: [*all_of[axis][:block], count, *all_of[axis][block + 1 :]]}
        found = features_of(pruned_to(model, kept["heads"], kept["tokens"], kept["neurons"], scores), batches)
        progress(1)
        return float((1 - (found * whole).sum(dim=1)).mean())

    def along(axis: str, block: int) -> dict[int, float]:
        every, *fewer = tried[axis]
        return _monotone(
            {every: 0.0} | {count: damage(axis, block, count) for count in fewer if axis in over}
        )

    return [Damages(*(along(axis, block) for axis in AXES)) for block in range(architecture.prunable)]


def tried_counts(architecture: Architecture) -> dict[str, list[int]]:
    """axis -> the numbers to keep in a block of an unpruned model that are tried, all of them first."""
    return {
        "heads": list(range(architecture.vit.heads, 0, -1)),
        "tokens": token_counts(architecture.tokens),
        "neurons": neuron_counts(architecture.vit.hidden),
    }


def _monotone(found: Mapping[int, float]) -> dict[int, float]:
    """Keeping more never damages more: noise aside, a count damages at most what any smaller count does."""
    out: dict[int, float] = {}
    least = np.inf
    for count in sorted(found):
        least = min(least, max(found[count], 0.0))
        out[count] = least
    return out
