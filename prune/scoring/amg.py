"""Attention-map-guided pruning, or by what it is compared with: score, cut, recover, in rounds. Knows no files and no data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from prune.config.settings import HeadConfig, PruneConfig, TokenConfig
from prune.model.architecture import removed_count
from prune.model.surgery import keep_heads, keep_neurons, keep_tokens, rebuild, remove_blocks
from prune.model.transreid import TransReID
from prune.scoring.run import Batch, Loss, score_class_attention, score_heads, score_magnitudes, score_tokens
from prune.scoring.scores import (
    count_beyond,
    count_of,
    head_scores,
    random_scores,
    relative_magnitudes,
    select,
    select_within,
    split_rounds,
    token_scores,
)
from prune.scoring.thinning import choose_blocks, choose_neurons, measure_neurons, neuron_count
from runtime.errors import ConfigError

Batches = Callable[[], Iterable[Batch]]
# (model after a cut, whether it was the last one) -> the model after fine-tuning
Recover = Callable[[TransReID, bool], TransReID]


@dataclass(frozen=True)
class Round:
    """What goes before one fine-tuning: so many heads and tokens, and, in the first, whole blocks and MLP neurons."""

    heads: int = 0
    tokens: int = 0
    thins: bool = False


@dataclass(frozen=True)
class Stage:
    """How far a run has come: `rounds` are finished, `records` are those of all cuts so far.

    `cut` means that the cut of the next round is made too, and its fine-tuning comes next.
    """

    rounds: int = 0
    cut: bool = False
    records: tuple[dict[str, Any], ...] = ()


# called with the model after every cut and after every fine-tuning, so that a stopped run can go on from there
Keep = Callable[[TransReID, Stage], None]


def head_count(model: TransReID, config: HeadConfig, *, blocks: int | None = None) -> int:
    """How many heads this run removes: down to `kept`, `count`, or `fraction` of the unpruned model's prunable heads.

    `blocks` counts the prunable blocks that a fraction is taken of (default: those that are not removed).
    """
    if config.kept:
        return count_beyond(
            [len(block.heads) for block in model.architecture.blocks[: model.architecture.prunable]],
            config.kept,
            "heads",
            1,
        )
    if config.count is not None:
        return config.count
    return count_of(
        config.fraction,
        model.architecture.vit.heads,
        model.architecture.present_blocks if blocks is None else blocks,
    )


def token_count(model: TransReID, config: TokenConfig, *, blocks: int | None = None) -> int:
    """How many patch tokens, summed over blocks, this run removes: down to `kept`, `count`, or `fraction` of the unpruned model's.

    `blocks` as for `head_count`.
    """
    if config.kept:
        return count_beyond(
            [len(block.tokens) for block in model.architecture.blocks[: model.architecture.prunable]],
            config.kept,
            "tokens",
            2,
        )
    if config.count is not None:
        return config.count
    return count_of(
        config.fraction,
        model.architecture.patches,
        model.architecture.present_blocks if blocks is None else blocks,
    )


def measure_heads(model: TransReID, config: PruneConfig, batches: Batches) -> list[Tensor]:
    """What `choose_heads` chooses by, (h_l,) per prunable block: entropies, magnitudes or random numbers."""
    if config.heads.by == "magnitude":
        return score_magnitudes(model)
    if config.heads.by == "random":
        ids = [block.heads for block in model.architecture.blocks[: model.architecture.prunable]]
        return random_scores(ids, seed=config.seed, stream=0)
    return score_heads(model, batches(), entropy=config.heads.entropy)


def measure_tokens(model: TransReID, config: PruneConfig, batches: Batches, loss: Loss) -> list[Tensor]:
    """What `choose_tokens` chooses by, (n_l - 1,) per prunable block, the class token left out."""
    if config.tokens.by == "class_attention":
        return score_class_attention(model, batches())
    if config.tokens.by == "random":
        ids = [block.tokens[1:] for block in model.architecture.blocks[: model.architecture.prunable]]
        return random_scores(ids, seed=config.seed, stream=1)
    return score_tokens(model, batches(), loss)


def head_ranking(scores: list[Tensor], config: HeadConfig) -> list[Tensor]:
    """What `measure_heads` gave, weighted, so that the lowest go."""
    if config.by == "entropy":
        return [-score for score in head_scores(scores, layer_weight=config.layer_weight)]
    return relative_magnitudes(scores) if config.by == "magnitude" else scores


def token_ranking(scores: list[Tensor], config: TokenConfig) -> list[Tensor]:
    """What `measure_tokens` gave, weighted, so that the lowest go: importances by depth, class attention only normalised per block."""
    if config.by == "random":
        return scores
    return token_scores(scores, layer_weight=config.layer_weight if config.by == "importance" else 0.0)


def choose_heads(scores: list[Tensor], remove: int, config: HeadConfig) -> tuple[list[list[int]], int]:
    """(positions kept per block, heads removed): the highest weighted entropies go, or the lowest of another criterion."""
    scores = head_ranking(scores, config)
    if config.kept:
        return select_within(scores, config.kept)
    return select(scores, remove, floor=config.floor, multiple=config.multiple)


def choose_tokens(
    scores: list[Tensor], model: TransReID, remove: int, config: TokenConfig
) -> tuple[list[list[int]], int]:
    """(original ids kept per block, without the class token; tokens removed): the lowest of `token_ranking` go."""
    scores = token_ranking(scores, config)
    if config.kept:
        kept, removed = select_within(scores, [max(count - 1, 0) for count in config.kept])
    else:
        kept, removed = select(
            scores, remove, floor=max(config.floor - 1, 0), multiple=config.multiple, offset=1
        )
    ids = [
        [model.architecture.blocks[block].tokens[position + 1] for position in positions]
        for block, positions in enumerate(kept)
    ]
    return ids, removed


def plan_rounds(model: TransReID, config: PruneConfig) -> list[Round]:
    """What goes in each round, every one followed by fine-tuning; a round removes something.

    Blocks and MLP neurons go in the first; fractions of heads and tokens are of the blocks that stay.
    """
    gone = removed_count(model.architecture, config.blocks.removed)
    left = model.architecture.present_blocks - gone
    heads = split_rounds(head_count(model, config.heads, blocks=left), config.heads.rounds)
    tokens = split_rounds(token_count(model, config.tokens, blocks=left), config.tokens.rounds)
    if config.order == "both":
        rounds = max(len(heads), len(tokens))
        padded = [(counts + [0] * rounds)[:rounds] for counts in (heads, tokens)]
        plan = [Round(*counts) for counts in zip(*padded)]
    elif config.order == "heads_first":
        plan = [Round(heads=count) for count in heads] + [Round(tokens=count) for count in tokens]
    else:
        plan = [Round(tokens=count) for count in tokens] + [Round(heads=count) for count in heads]
    if gone or config.mlp.cuts:
        first, *rest = plan or [Round()]
        plan = [dataclasses.replace(first, thins=True), *rest]
    return plan


def prune_model(
    model: TransReID,
    config: PruneConfig,
    batches: Batches,
    loss: Loss,
    recover: Recover,
    *,
    stage: Stage | None = None,
    keep: Keep | None = None,
    plan: Sequence[Round] | None = None,
) -> tuple[TransReID, list[dict[str, Any]]]:
    """(the pruned model, one record a cut): what `config` says removed; `model` itself is unchanged.

    `batches()` gives the scoring batches afresh; `recover` fine-tunes after every cut. A record holds `what`, `asked`, `removed`
    (fewer only where rounding to a multiple keeps some back) and the scores per block. ConfigError when the floors leave too few.
    `stage` says how far an earlier run came with this `model`, as it told `keep`: only the rest is done of `plan`, which is that
    of the model before its first cut (default: of this one).
    """
    if config.mode != model.architecture.mode:
        # the mode says what pruned tokens skip: with none pruned so far it can still be chosen
        _refuse_mode_change(model, config.mode)
        architecture = dataclasses.replace(model.architecture, mode=config.mode)
        model = rebuild(model, architecture, model.state_dict())
    plan = plan_rounds(model, config) if plan is None else plan
    stage = stage or Stage()
    for index, what in list(enumerate(plan))[stage.rounds :]:
        if not stage.cut:
            model, cuts = _cut(model, what, config, batches, loss)
            stage = Stage(index, True, (*stage.records, *cuts))
            if keep:
                keep(model, stage)
        model = recover(model, index == len(plan) - 1)
        stage = Stage(index + 1, False, stage.records)
        if keep:
            keep(model, stage)
    return model, list(stage.records)


def _cut(
    model: TransReID, what: Round, config: PruneConfig, batches: Batches, loss: Loss
) -> tuple[TransReID, list[dict[str, Any]]]:
    records = []
    if what.thins and (gone := removed_count(model.architecture, config.blocks.removed)):
        chosen, damages = choose_blocks(model, config.blocks, batches)
        model = remove_blocks(model, chosen)
        records.append(_record("blocks", gone, len(chosen), damages))
    # all scores are taken before any of these cuts
    head_values = measure_heads(model, config, batches) if what.heads else []
    token_values = measure_tokens(model, config, batches, loss) if what.tokens else []
    thins = what.thins and config.mlp.cuts
    neuron_values = measure_neurons(model, config.mlp, batches, loss) if thins else []
    pruned = model
    if what.heads:
        positions, removed = choose_heads(head_values, what.heads, config.heads)
        pruned = keep_heads(pruned, positions)
        records.append(_record("heads", what.heads, removed, head_values))
    if what.tokens:
        ids, removed = choose_tokens(token_values, model, what.tokens, config.tokens)
        pruned = keep_tokens(pruned, ids)
        records.append(_record("tokens", what.tokens, removed, token_values))
    if thins:
        asked = neuron_count(model.architecture, config.mlp)
        neurons, removed = choose_neurons(neuron_values, asked, config.mlp)
        pruned = keep_neurons(pruned, neurons)
        records.append(_record("neurons", asked, removed, neuron_values))
    return pruned, records


def _record(what: str, asked: int, removed: int, scores: list[Tensor]) -> dict[str, Any]:
    return {"what": what, "asked": asked, "removed": removed, "scores": [score.tolist() for score in scores]}


def _refuse_mode_change(model: TransReID, mode: str) -> None:
    if any(
        not block.removed and len(block.tokens) < model.architecture.tokens
        for block in model.architecture.blocks
    ):
        raise ConfigError(
            f"prune.mode {mode}: this model's tokens are pruned in mode {model.architecture.mode} already; set prune.mode to that"
        )
