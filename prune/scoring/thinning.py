"""What goes beyond AMG's heads and tokens: neurons of the MLPs, and whole blocks. Which ones, not how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from prune.config.settings import BlocksConfig, MlpConfig
from prune.model.architecture import Architecture, removed_count
from prune.model.surgery import remove_blocks
from prune.model.transreid import TransReID
from prune.scoring.run import Batch, Loss, score_blocks, score_neuron_magnitudes, score_neurons
from prune.scoring.scores import (
    count_beyond,
    count_of,
    relative_magnitudes,
    select,
    select_within,
    split_rounds,
)

Batches = Callable[[], Iterable[Batch]]


def choose_blocks(model: TransReID, config: BlocksConfig, batches: Batches) -> tuple[list[int], list[Tensor]]:
    """(original indices of the blocks that go, per removal what each block's removal would do to the features).

    One by one, the least missed first: two blocks that do the same are not both spared, nor both taken.
    """
    if not isinstance(config.removed, int):
        return sorted(config.removed), []
    given = list(batches())
    gone: list[int] = []
    rows = []
    for _ in range(removed_count(model.architecture, config.removed)):
        damages = score_blocks(remove_blocks(model, gone), given)
        gone.append(damages.index(min(damages)))
        # -1 stands where a block is gone: JSON has no infinity
        rows.append(torch.tensor([-1.0 if damage == float("inf") else damage for damage in damages]))
    return sorted(gone), rows


def measure_neurons(model: TransReID, config: MlpConfig, batches: Batches, loss: Loss) -> list[Tensor]:
    """What `choose_neurons` chooses by, (hidden_l,) per prunable block, low means redundant."""
    if config.by == "magnitude":
        return relative_magnitudes(score_neuron_magnitudes(model))
    return score_neurons(model, batches(), loss)


def neuron_count(architecture: Architecture, config: MlpConfig) -> int:
    """How many MLP neurons this run removes: down to `kept`, or `pruned` of the unpruned model's in the blocks that are left."""
    if config.kept:
        return count_beyond(architecture.hidden[: architecture.prunable], config.kept, "mlp", 1)
    return count_of(config.pruned, architecture.vit.hidden, architecture.present_blocks)


def choose_neurons(scores: Sequence[Tensor], remove: int, config: MlpConfig) -> tuple[list[list[int]], int]:
    """(positions kept per block, neurons removed): the lowest of all go, or each block's lowest; ConfigError as `select`'s."""
    if config.kept:
        return select_within(scores, config.kept)
    if config.within == "model":
        return select(scores, remove, floor=config.floor, multiple=config.multiple)
    shares = iter(split_rounds(remove, sum(len(score) > 0 for score in scores)))
    found = [
        select([score], next(shares, 0) if len(score) else 0, floor=config.floor, multiple=config.multiple)
        for score in scores
    ]
    return [kept[0] for kept, _ in found], sum(removed for _, removed in found)
