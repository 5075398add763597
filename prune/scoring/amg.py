"""Prune a model in rounds of scoring, cutting and fine-tuning, by attention-map-guided pruning (AMG) or by another criterion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from prune.config.settings import HeadConfig, PruneConfig, TokenConfig
from prune.model.removal import removed_count
from prune.model.surgery import keep_heads, keep_neurons, keep_tokens, rebuild, remove_blocks
from prune.model.transreid import TransReID
from prune.scoring.model_scores import (
    Batch,
    Loss,
    score_class_attention,
    score_heads,
    score_magnitudes,
    score_tokens,
)
from prune.scoring.scores import (
    count_from_fraction,
    count_to_remove,
    head_scores,
    random_scores,
    relative_magnitudes,
    select_across_blocks,
    select_per_block,
    split_rounds,
    token_scores,
)
from prune.scoring.thinning import choose_blocks, choose_neurons, measure_neurons, neuron_count
from runtime.errors import ConfigError

# Returns a new iterator over the scoring batches at every call.
Batches = Callable[[], Iterable[Batch]]
# Takes the model after a cut and whether this was the last cut; returns the fine-tuned model.
FineTune = Callable[[TransReID, bool], TransReID]


@dataclass(frozen=True)
class Round:
    """The numbers of heads and tokens that a round removes in all; with `prunes_mlp`, it also removes MLP neurons and whole blocks."""

    heads: int = 0
    tokens: int = 0
    prunes_mlp: bool = False


@dataclass(frozen=True)
class Stage:
    """How far a run has come: the number of finished `rounds`, and the `records` of all cuts so far (see `prune_model`).

    If `cut` is True, the cut of the next round has been made as well, and its fine-tuning comes next.
    """

    rounds: int = 0
    cut: bool = False
    records: tuple[dict[str, Any], ...] = ()


# Called with the model after every cut and after every fine-tuning, so that a stopped run can be resumed.
SaveStage = Callable[[TransReID, Stage], None]


def head_count(model: TransReID, config: HeadConfig, *, blocks: int | None = None) -> int:
    """Return how many heads, summed over blocks, a run removes: by `config.kept` if given, or by `count` if given, or by `fraction`.

    `kept` has the number of heads that each block keeps, and `count` is the number to remove. `fraction` is the share to remove of
    `blocks` x the number of heads in an unpruned block. `blocks` None means the number of prunable blocks that are not removed.
    """
    if config.kept:
        return count_to_remove(
            [len(block.heads) for block in model.architecture.blocks[: model.architecture.prunable]],
            config.kept,
            "heads",
            1,
        )
    if config.count is not None:
        return config.count
    return count_from_fraction(
        config.fraction,
        model.architecture.vit.heads,
        model.architecture.present_blocks if blocks is None else blocks,
    )


def token_count(model: TransReID, config: TokenConfig, *, blocks: int | None = None) -> int:
    """Return how many patch tokens, summed over blocks, a run removes, by `config.kept`, `count` or `fraction` as in `head_count`.

    `kept` has the number of tokens that each block keeps, leading tokens included, and `count` is the number to remove. `fraction` is
    the share to remove of `blocks` x the number of patch tokens in an unpruned block. `blocks` None means the number of prunable
    blocks that are not removed.
    """
    if config.kept:
        return count_to_remove(
            [len(block.tokens) for block in model.architecture.blocks[: model.architecture.prunable]],
            config.kept,
            "tokens",
            model.architecture.leading + 1,
        )
    if config.count is not None:
        return config.count
    return count_from_fraction(
        config.fraction,
        model.architecture.patches,
        model.architecture.present_blocks if blocks is None else blocks,
    )


def measure_heads(model: TransReID, config: PruneConfig, batches: Batches) -> list[Tensor]:
    """Return the head scores before weighting, (h_l,) per prunable block: entropies, magnitudes or random numbers (`heads.by`)."""
    if config.heads.by == "magnitude":
        return score_magnitudes(model)
    if config.heads.by == "random":
        ids = [block.heads for block in model.architecture.blocks[: model.architecture.prunable]]
        return random_scores(ids, seed=config.seed, stream=0)
    return score_heads(model, batches(), entropy=config.heads.entropy)


def measure_tokens(model: TransReID, config: PruneConfig, batches: Batches, loss: Loss) -> list[Tensor]:
    """Return the scores of the patch tokens before weighting, one tensor per prunable block, by the criterion `config.tokens.by`.

    Only the criterion "importance" uses `loss(model, images, labels, camera_ids)`, a scalar whose gradient `score_tokens` takes.
    """
    if config.tokens.by == "class_attention":
        return score_class_attention(model, batches())
    if config.tokens.by == "random":
        leading, blocks = model.architecture.leading, model.architecture.blocks
        ids = [block.tokens[leading:] for block in blocks[: model.architecture.prunable]]
        return random_scores(ids, seed=config.seed, stream=1)
    return score_tokens(model, batches(), loss)


def head_ranking(scores: list[Tensor], config: HeadConfig) -> list[Tensor]:
    """Return the `scores` of `measure_heads`, changed so that the heads with the lowest values are removed first.

    Entropies are weighted by depth and negated, because a high entropy means a redundant head. Magnitudes are divided by the mean
    of their block, and random numbers stay as they are.
    """
    if config.by == "entropy":
        return [-score for score in head_scores(scores, layer_weight=config.layer_weight)]
    return relative_magnitudes(scores) if config.by == "magnitude" else scores


def token_ranking(scores: list[Tensor], config: TokenConfig) -> list[Tensor]:
    """Return the `scores` of `measure_tokens`, changed so that the tokens with the lowest values are removed first.

    Importances are normalised per block and weighted by depth. Class attention is only normalised per block, and random numbers
    stay as they are.
    """
    if config.by == "random":
        return scores
    return token_scores(scores, layer_weight=config.layer_weight if config.by == "importance" else 0.0)


def choose_heads(scores: list[Tensor], remove: int, config: HeadConfig) -> tuple[list[list[int]], int]:
    """Choose the heads to keep, those with the highest `head_ranking`; return (positions kept per block, number of heads removed).

    `scores` come from `measure_heads`. A position is 0-based among the heads that the block has. `remove` is the number to remove
    in all; it is not used if `config.kept` is given.
    """
    ranking = head_ranking(scores, config)
    if config.kept:
        return select_per_block(ranking, config.kept)
    return select_across_blocks(ranking, remove, floor=config.floor, multiple=config.multiple)


def choose_tokens(
    scores: list[Tensor], model: TransReID, remove: int, config: TokenConfig
) -> tuple[list[list[int]], int]:
    """Choose the patch tokens to keep, those with the highest `token_ranking`; return (ids kept per block, number removed).

    `scores` come from `measure_tokens`. The ids are those of the unpruned model. `remove` is the number to remove in all; it is not
    used if `config.kept` is given. The leading tokens (the class token) are always kept, and are not among the ids.
    """
    scores, leading = token_ranking(scores, config), model.architecture.leading
    if config.kept:
        kept, removed = select_per_block(scores, [max(count - leading, 0) for count in config.kept])
    else:
        kept, removed = select_across_blocks(
            scores, remove, floor=max(config.floor - leading, 0), multiple=config.multiple, offset=leading
        )
    ids = [
        [model.architecture.blocks[block].tokens[position + leading] for position in positions]
        for block, positions in enumerate(kept)
    ]
    return ids, removed


def plan_rounds(model: TransReID, config: PruneConfig) -> list[Round]:
    """Return the rounds of a run: those of heads before or after those of tokens, or both in the same rounds (`config.order`).

    Whole blocks and MLP neurons are removed in the first round; fractions of heads and tokens refer to the blocks that are then left.
    """
    blocks_removed = removed_count(model.architecture, config.blocks.removed)
    blocks_left = model.architecture.present_blocks - blocks_removed
    heads = split_rounds(head_count(model, config.heads, blocks=blocks_left), config.heads.rounds)
    tokens = split_rounds(token_count(model, config.tokens, blocks=blocks_left), config.tokens.rounds)
    if config.order == "both":
        rounds = max(len(heads), len(tokens))
        padded = [(counts + [0] * rounds)[:rounds] for counts in (heads, tokens)]
        plan = [Round(*counts) for counts in zip(*padded)]
    elif config.order == "heads_first":
        plan = [Round(heads=count) for count in heads] + [Round(tokens=count) for count in tokens]
    else:
        plan = [Round(tokens=count) for count in tokens] + [Round(heads=count) for count in heads]
    if blocks_removed or config.mlp.cuts:
        first, *rest = plan or [Round()]
        plan = [dataclasses.replace(first, prunes_mlp=True), *rest]
    return plan


def prune_model(
    model: TransReID,
    config: PruneConfig,
    batches: Batches,
    loss: Loss,
    fine_tune: FineTune,
    *,
    stage: Stage | None = None,
    save_stage: SaveStage | None = None,
    plan: Sequence[Round] | None = None,
) -> tuple[TransReID, list[dict[str, Any]]]:
    """Prune and fine-tune in the rounds of `config`; return (the pruned model, the records of all cuts). `model` is not changed.

    `batches()` returns a new iterator over the scoring batches, and `loss` is that of `measure_tokens`. After every cut,
    `fine_tune(model, last)` returns the fine-tuned model; `last` is True for the last cut. A record says `what` was removed, how many
    were requested (`asked`), how many were `removed` (fewer if rounding keeps some) and the scores per block. Raises ConfigError if
    `config` does not fit the model, or if its floors forbid a cut.

    `save_stage(model, stage)` is called after every cut and every fine-tuning. To resume a stopped run, give as `model` and `stage`
    what the run last passed to `save_stage`, and as `plan` the result of `plan_rounds` for the model before the first cut. A `stage`
    of None starts a new run, and a `plan` of None is computed from `model`.
    """
    if config.mode != model.architecture.mode:
        # The mode says which operations pruned tokens skip, so it may change only while no token is pruned.
        _refuse_mode_change(model, config.mode)
        model = rebuild(model, dataclasses.replace(model.architecture, mode=config.mode), model.state_dict())
    plan = plan_rounds(model, config) if plan is None else plan
    stage = stage or Stage()
    for index, step in list(enumerate(plan))[stage.rounds :]:
        if not stage.cut:
            model, cuts = _cut(model, step, config, batches, loss)
            stage = Stage(index, True, (*stage.records, *cuts))
            if save_stage:
                save_stage(model, stage)
        model = fine_tune(model, index == len(plan) - 1)
        stage = Stage(index + 1, False, stage.records)
        if save_stage:
            save_stage(model, stage)
    return model, list(stage.records)


def _cut(
    model: TransReID, step: Round, config: PruneConfig, batches: Batches, loss: Loss
) -> tuple[TransReID, list[dict[str, Any]]]:
    records = []
    if step.prunes_mlp and (block_count := removed_count(model.architecture, config.blocks.removed)):
        blocks, drifts = choose_blocks(model, config.blocks, batches)
        model = remove_blocks(model, blocks)
        records.append(_record("blocks", block_count, len(blocks), drifts))
    # Heads, tokens and neurons are all scored before any of them is removed.
    head_values = measure_heads(model, config, batches) if step.heads else []
    token_values = measure_tokens(model, config, batches, loss) if step.tokens else []
    prunes_mlp = step.prunes_mlp and config.mlp.cuts
    neuron_values = measure_neurons(model, config.mlp, batches, loss) if prunes_mlp else []
    pruned = model
    if step.heads:
        positions, removed = choose_heads(head_values, step.heads, config.heads)
        pruned = keep_heads(pruned, positions)
        records.append(_record("heads", step.heads, removed, head_values))
    if step.tokens:
        ids, removed = choose_tokens(token_values, model, step.tokens, config.tokens)
        pruned = keep_tokens(pruned, ids)
        records.append(_record("tokens", step.tokens, removed, token_values))
    if prunes_mlp:
        remove = neuron_count(model.architecture, config.mlp)
        neurons, removed = choose_neurons(neuron_values, remove, config.mlp)
        pruned = keep_neurons(pruned, neurons)
        records.append(_record("neurons", remove, removed, neuron_values))
    return pruned, records


def _record(what: str, asked: int, removed: int, scores: list[Tensor]) -> dict[str, Any]:
    return {"what": what, "asked": asked, "removed": removed, "scores": [score.tolist() for score in scores]}


def _refuse_mode_change(model: TransReID, mode: str) -> None:
    if any(
        not block.removed and len(block.tokens) < model.architecture.tokens
        for block in model.architecture.blocks
    ):
        raise ConfigError(
            f"prune.mode {mode}: the tokens of this model are already pruned in mode {model.architecture.mode}; "
            f"set prune.mode={model.architecture.mode}"
        )
