"""Which heads and tokens each block keeps, so that a target is met at the least damage. Pure but for `damages`, which runs the model.

Damage is what removing a block's lowest-scored heads, or tokens, does to the features of people held out: the mean of
1 - cosine, without fine-tuning. Damages of different blocks, and of heads and tokens, are added up; what a block costs comes
from a latency table or from its multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from prune.model import TransReID
from prune.scores import select_within
from prune.scoring import Batch, features_of
from prune.surgery import keep_heads, keep_tokens
from runtime.errors import ConfigError

GOALS = ("latency_ms", "macs", "map")
# kept tokens that are tried, as shares of all
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
# costs are told apart to this part of the whole range: far finer than a latency is measured
BINS = 4000


@dataclass(frozen=True)
class Goal:
    """`kind` latency_ms, macs (at most `value`) or map (0..1, at least `value` on the held-out people, before fine-tuning)."""

    kind: str
    value: float


@dataclass(frozen=True)
class Option:
    """What one block may keep, and what that costs and damages."""

    heads: int
    tokens: int
    cost: float
    damage: float


@dataclass(frozen=True)
class Point:
    """A whole model: heads and tokens (class token included) kept in each prunable block, predicted cost and damage."""

    heads: tuple[int, ...]
    tokens: tuple[int, ...]
    cost: float
    damage: float


def read_goal(text: str) -> Goal:
    """`latency_ms=3.2`, `macs=1.2e8` or `map=0.85`; ConfigError for anything else."""
    kind, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if kind not in GOALS or not 0 < value < float("inf") or (kind == "map" and value > 1):
        raise ConfigError(f"--goal {text}: give latency_ms=MS, macs=COUNT or map=0..1")
    return Goal(kind, value)


def block_options(
    heads: Mapping[int, float], tokens: Mapping[int, float], cost: Callable[[int, int], float]
) -> list[Option]:
    """Every pair of counts of one block that no other pair beats in both cost and damage, the cheapest first.

    `heads` and `tokens` are count -> damage of keeping so many; `cost(heads, tokens)` is the block's.
    """
    every = [
        Option(h, t, cost(h, t), head_damage + token_damage)
        for h, head_damage in heads.items()
        for t, token_damage in tokens.items()
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
    points = [Point((), (), 0.0, 0.0)]
    for options in blocks:
        best: dict[int, Point] = {}
        for point in points:
            for option in options:
                cost, damage = point.cost + option.cost, point.damage + option.damage
                key = round(cost / step)
                if key not in best or damage < best[key].damage:
                    best[key] = Point(
                        (*point.heads, option.heads), (*point.tokens, option.tokens), cost, damage
                    )
        points = _undominated(list(best.values()))
    return [Point(one.heads, one.tokens, fixed + one.cost, one.damage) for one in points]


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


def pruned_to(
    model: TransReID,
    heads: Sequence[int],
    tokens: Sequence[int],
    scores: tuple[Sequence[Tensor], Sequence[Tensor]],
) -> TransReID:
    """The model with so many heads and tokens (class token included) in each prunable block, the lowest `scores` gone.

    `scores` are (h_l,) per block, higher is better, and (n_l - 1,) of the patch tokens.
    """
    shape = model.shape
    positions, _ = select_within(scores[0], heads)
    places, _ = select_within(scores[1], [count - 1 for count in tokens])
    ids = [[shape.blocks[block].tokens[place + 1] for place in mine] for block, mine in enumerate(places)]
    return keep_tokens(keep_heads(model, positions), ids)


def damages(
    model: TransReID,
    scores: tuple[Sequence[Tensor], Sequence[Tensor]],
    batches: Sequence[Batch],
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> list[tuple[dict[int, float], dict[int, float]]]:
    """Per prunable block (heads kept -> damage, tokens kept -> damage), measured one at a time on `batches` of held-out people."""
    shape = model.shape
    whole = features_of(model, batches)
    all_heads = [len(block.heads) for block in shape.blocks[: shape.prunable]]
    all_tokens = [len(block.tokens) for block in shape.blocks[: shape.prunable]]

    def damage(heads: Sequence[int], tokens: Sequence[int]) -> float:
        found = features_of(pruned_to(model, heads, tokens, scores), batches)
        progress(1)
        return float((1 - (found * whole).sum(dim=1)).mean())

    def instead(counts: Sequence[int], block: int, count: int) -> list[int]:
        return [*counts[:block], count, *counts[block + 1 :]]

    table = []
    for block in range(shape.prunable):
        heads = {all_heads[block]: 0.0}
        heads |= {
            count: damage(instead(all_heads, block, count), all_tokens)
            for count in range(1, all_heads[block])
        }
        tokens = {all_tokens[block]: 0.0}
        tried = [count for count in token_counts(shape.tokens) if count < all_tokens[block]]
        tokens |= {count: damage(all_heads, instead(all_tokens, block, count)) for count in tried}
        table.append((_monotone(heads), _monotone(tokens)))
    return table


def _monotone(found: Mapping[int, float]) -> dict[int, float]:
    """Keeping more never damages more: noise aside, a count damages at most what any smaller count does."""
    out: dict[int, float] = {}
    least = np.inf
    for count in sorted(found):
        least = min(least, max(found[count], 0.0))
        out[count] = least
    return out
