"""Choose MLP neurons and whole blocks to remove. AMG, the published method of this project, removes only heads and tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from prune.config.settings import BlocksConfig, MlpConfig
from prune.model.architecture import Architecture
from prune.model.removal import removed_count
from prune.model.surgery import remove_blocks
from prune.model.transreid import TransReID
from prune.scoring.model_scores import Batch, Loss, score_blocks, score_neuron_magnitudes, score_neurons
from prune.scoring.scores import (
    count_from_fraction,
    count_to_remove,
    relative_magnitudes,
    select_across_blocks,
    select_per_block,
    split_rounds,
)

Batches = Callable[[], Iterable[Batch]]


def choose_blocks(model: TransReID, config: BlocksConfig, batches: Batches) -> tuple[list[int], list[Tensor]]:
    """Return (0-based indices of the blocks to remove, ascending; one tensor of feature drifts per choice, in order of choice).

    If `config.removed` lists the indices, they are returned sorted, and there are no drifts. If it is a number, so many blocks are
    chosen one by one. Each choice is the block with the smallest feature drift: the mean over images of 1 - the cosine between the
    features with and without this block. The drifts are measured again before every choice, because two blocks that do the same work
    can replace each other. The tensor of a choice (prunable blocks,) has the drift of each block, or -1 if it was removed before.
    """
    if not isinstance(config.removed, int):
        return sorted(config.removed), []
    batch_list = list(batches())
    chosen: list[int] = []
    drift_rows = []
    for _ in range(removed_count(model.architecture, config.removed)):
        drifts = score_blocks(remove_blocks(model, chosen), batch_list)
        chosen.append(drifts.index(min(drifts)))
        # A removed block gets -1, because JSON has no infinity.
        drift_rows.append(torch.tensor([-1.0 if drift == float("inf") else drift for drift in drifts]))
    return sorted(chosen), drift_rows


def measure_neurons(model: TransReID, config: MlpConfig, batches: Batches, loss: Loss) -> list[Tensor]:
    """Return the scores of the MLP neurons, (hidden_l,) per prunable block; a low score means a redundant neuron.

    If `config.by` is "magnitude", the scores are the magnitudes of the neurons' weights, divided by the mean of their block.
    Otherwise they estimate how much the loss changes without the neuron (`score_neurons` of prune.scoring.model_scores). They are
    computed from the gradient of `loss(model, images, labels, camera_rows)`, a scalar, on the images of `batches()`.
    """
    if config.by == "magnitude":
        return relative_magnitudes(score_neuron_magnitudes(model))
    return score_neurons(model, batches(), loss)


def neuron_count(architecture: Architecture, config: MlpConfig) -> int:
    """Return how many MLP neurons a run removes in all.

    If `config.kept` is given, it has the number that each prunable block keeps. Otherwise `config.pruned` is the share to remove of
    all neurons that the prunable blocks had before any pruning; removed blocks do not count.
    """
    if config.kept:
        return count_to_remove(architecture.hidden[: architecture.prunable], config.kept, "mlp", 1)
    return count_from_fraction(config.pruned, architecture.vit.hidden, architecture.present_blocks)


def choose_neurons(scores: Sequence[Tensor], remove: int, config: MlpConfig) -> tuple[list[list[int]], int]:
    """Choose the neurons to keep, those with the highest scores; return (positions kept per block, number of neurons removed).

    `scores` come from `measure_neurons`. A position is 0-based among the neurons that the block has. `remove` is the number to
    remove in all; it is not used if `config.kept` is given. The scores are compared across all blocks if `config.within` is
    "model", and otherwise within each block. Raises ConfigError as `select_across_blocks` does.
    """
    if config.kept:
        return select_per_block(scores, config.kept)
    if config.within == "model":
        return select_across_blocks(scores, remove, floor=config.floor, multiple=config.multiple)
    shares = iter(split_rounds(remove, sum(len(score) > 0 for score in scores)))
    selections = [
        select_across_blocks(
            [score], next(shares, 0) if len(score) else 0, floor=config.floor, multiple=config.multiple
        )
        for score in scores
    ]
    return [kept[0] for kept, _ in selections], sum(removed for _, removed in selections)
