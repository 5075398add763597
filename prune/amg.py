"""Attention-map-guided pruning: score, cut, recover, in rounds. Knows no files, no data set, no command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from prune.model import TransReID
from prune.scores import count_of, head_scores, select, split_rounds, token_scores
from prune.scoring import Batch, Loss, score_heads, score_tokens
from prune.settings import HeadConfig, PruneConfig, TokenConfig
from prune.surgery import keep_heads, keep_tokens, rebuild
from runtime.errors import ConfigError

Batches = Callable[[], Iterable[Batch]]
# (model after a cut, whether it was the last one) -> the model after fine-tuning
Recover = Callable[[TransReID, bool], TransReID]


def head_count(model: TransReID, config: HeadConfig) -> int:
    """How many heads this run removes: `count`, or `fraction` of the unpruned model's prunable heads."""
    if config.count is not None:
        return config.count
    return count_of(config.fraction, model.shape.vit.heads, model.shape.prunable)


def token_count(model: TransReID, config: TokenConfig) -> int:
    """How many patch tokens, summed over blocks, this run removes: `count`, or `fraction` of the unpruned model's."""
    if config.count is not None:
        return config.count
    return count_of(config.fraction, model.shape.patches, model.shape.prunable)


def choose_heads(entropies: list[Tensor], remove: int, config: HeadConfig) -> tuple[list[list[int]], int]:
    """(positions kept per block, heads removed): the highest weighted entropies go."""
    weighted = head_scores(entropies, layer_weight=config.layer_weight)
    return select([-score for score in weighted], remove, floor=config.floor, multiple=config.multiple)


def choose_tokens(
    sums: list[Tensor], model: TransReID, remove: int, config: TokenConfig
) -> tuple[list[list[int]], int]:
    """(original ids kept per block, without the class token; tokens removed): the lowest weighted importances go."""
    weighted = token_scores(sums, layer_weight=config.layer_weight)
    kept, removed = select(
        weighted, remove, floor=max(config.floor - 1, 0), multiple=config.multiple, offset=1
    )
    ids = [
        [model.shape.blocks[block].tokens[position + 1] for position in positions]
        for block, positions in enumerate(kept)
    ]
    return ids, removed


def prune_model(
    model: TransReID, config: PruneConfig, batches: Batches, loss: Loss, recover: Recover
) -> tuple[TransReID, list[dict[str, Any]]]:
    """(the pruned model, one record a cut): heads and tokens removed as `config` says; `model` itself is unchanged.

    `batches()` gives the scoring batches afresh; `recover` fine-tunes after every cut. A record holds `what`, `asked`, `removed`
    (fewer only where rounding to a multiple keeps some back) and the scores per block. ConfigError when the floors leave too few.
    """
    if config.mode != model.shape.mode:
        # the mode says what pruned tokens skip: with none pruned so far it can still be chosen
        _refuse_mode_change(model, config.mode)
        shape = dataclasses.replace(model.shape, mode=config.mode)
        model = rebuild(model, shape, model.state_dict())
    heads = split_rounds(head_count(model, config.heads), config.heads.rounds)
    tokens = split_rounds(token_count(model, config.tokens), config.tokens.rounds)
    plan: list[tuple[int, int]]
    if config.order == "both":
        rounds = max(len(heads), len(tokens))
        padded = [(counts + [0] * rounds)[:rounds] for counts in (heads, tokens)]
        plan = list(zip(*padded))
    elif config.order == "heads_first":
        plan = [(count, 0) for count in heads] + [(0, count) for count in tokens]
    else:
        plan = [(0, count) for count in tokens] + [(count, 0) for count in heads]
    records = []
    for index, (head_share, token_share) in enumerate(plan):
        model, cuts = _cut(model, head_share, token_share, config, batches, loss)
        records += cuts
        model = recover(model, index == len(plan) - 1)
    return model, records


def _cut(
    model: TransReID, heads: int, tokens: int, config: PruneConfig, batches: Batches, loss: Loss
) -> tuple[TransReID, list[dict[str, Any]]]:
    # both scores are taken before either cut
    entropies = score_heads(model, batches(), entropy=config.heads.entropy) if heads else []
    sums = score_tokens(model, batches(), loss) if tokens else []
    pruned, records = model, []
    if heads:
        positions, removed = choose_heads(entropies, heads, config.heads)
        pruned = keep_heads(pruned, positions)
        records.append(_record("heads", heads, removed, entropies))
    if tokens:
        ids, removed = choose_tokens(sums, model, tokens, config.tokens)
        pruned = keep_tokens(pruned, ids)
        records.append(_record("tokens", tokens, removed, sums))
    return pruned, records


def _record(what: str, asked: int, removed: int, scores: list[Tensor]) -> dict[str, Any]:
    return {"what": what, "asked": asked, "removed": removed, "scores": [score.tolist() for score in scores]}


def _refuse_mode_change(model: TransReID, mode: str) -> None:
    if any(len(block.tokens) < model.shape.tokens for block in model.shape.blocks):
        raise ConfigError(
            f"prune.mode {mode}: this model's tokens are pruned in mode {model.shape.mode} already; set prune.mode to that"
        )
