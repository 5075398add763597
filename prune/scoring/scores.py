"""Scores and selection as pure functions on tensors: AMG's, and what it is compared with. Knows no model and no loader."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from runtime.errors import ConfigError


def attention_entropy(attention: Tensor) -> Tensor:
    """Head entropies of a map (h, queries, keys) whose rows sum to 1: (h,) bits, mean over queries of -sum p log2 p.

    0 log 0 is 0. AMG, head redundancy; the map is the mean over images.
    """
    return torch.special.entr(attention).sum(dim=-1).mean(dim=-1) / math.log(2)


def head_scores(entropies: Sequence[Tensor], *, layer_weight: float) -> list[Tensor]:
    """Weighted entropies per block, each (h_l,): high means diffuse, redundant.

    A block's weight is 1 + layer_weight x (blocks before it that still have more than one head), as published.
    """
    weight, weighted = 1.0, []
    for entropy in entropies:
        weighted.append(weight * entropy)
        weight += layer_weight if len(entropy) > 1 else 0.0
    return weighted


def token_batch_scores(attention: Tensor, gradient: Tensor) -> Tensor:
    """One batch's key scores (n,) of maps and their gradients (B, h, q, n): |mean over B, h, q of gradient x attention|.

    Signs cancel inside a batch, not between batches, as published.
    """
    return (gradient * attention).mean(dim=(0, 1, 2)).abs()


def token_scores(sums: Sequence[Tensor], *, layer_weight: float) -> list[Tensor]:
    """Weighted importances per block, each (n_l,): low means redundant.

    `sums` are sums over batches of `token_batch_scores` without the class token. Each block is divided by its 2-norm and
    weighted by 1 - layer_weight x block index. A block of zeros stays zero.
    """
    return [
        (1 - layer_weight * index) * total / total.norm().clamp_min(torch.finfo(total.dtype).tiny)
        for index, total in enumerate(sums)
    ]


def head_magnitudes(qkv: Tensor, bias: Tensor | None, proj: Tensor, *, head_dim: int) -> Tensor:
    """(h,) 2-norm of everything a head owns: its rows of `qkv` (3 h head_dim, D) and `bias` (3 h head_dim,), its columns of
    `proj` (D, h head_dim).
    """
    squares = qkv.square().sum(dim=1)
    if bias is not None:
        squares = squares + bias.square()
    rows = squares.unflatten(0, (3, -1, head_dim)).sum(dim=(0, 2))
    return (rows + proj.square().sum(dim=0).unflatten(0, (-1, head_dim)).sum(dim=1)).sqrt()


def neuron_scores(activation: Tensor, gradient: Tensor) -> Tensor:
    """MLP neurons' scores (hidden,) of one batch's activations and their gradients (B, n, hidden): low means redundant.

    Per image |sum over tokens of gradient x activation|, summed over images: by how much the loss moves, to first order, when a
    neuron falls silent (Molchanov et al., ICLR 2017, section 2.2).
    """
    return (gradient * activation).sum(dim=1).abs().sum(dim=0)


def neuron_magnitudes(fc1: Tensor, bias: Tensor, fc2: Tensor) -> Tensor:
    """(hidden,) 2-norm of everything a neuron owns: its row of `fc1` (hidden, D) and `bias` (hidden,), its column of `fc2`."""
    return (fc1.square().sum(dim=1) + bias.square() + fc2.square().sum(dim=0)).sqrt()


def count_beyond(there: Sequence[int], kept: Sequence[int], what: str, least: int) -> int:
    """How many there are beyond `kept`; ConfigError when a block is asked for more than it has, or fewer than `least`."""
    # a removed block has none, and keeps none
    right = [least <= want <= has or want == has == 0 for want, has in zip(kept, there)]
    if len(kept) != len(there) or not all(right):
        raise ConfigError(
            f"prune.{what}.kept {list(kept)}: this model has {list(there)}; give {len(there)} numbers, from {least} up to these"
        )
    return sum(there) - sum(kept)


def relative_magnitudes(magnitudes: Sequence[Tensor]) -> list[Tensor]:
    """Magnitudes (h_l,) over their block's mean, low means small: how large a block's weights are does not decide."""
    return [
        magnitude / magnitude.mean().clamp_min(torch.finfo(magnitude.dtype).tiny) for magnitude in magnitudes
    ]


def class_attention(attention: Tensor) -> Tensor:
    """Attention of the class token (query 0) to each patch token (n - 1,) of maps (B, h, q, n): the sum over B of the mean over h.

    Keep criterion of EViT (Liang et al., ICLR 2022, section 3.2), here over all images.
    """
    return attention[:, :, 0, 1:].mean(dim=1).sum(dim=0)


def random_scores(ids: Sequence[Sequence[int]], *, seed: int, stream: int) -> list[Tensor]:
    """Uniform numbers 0..1 (n_l,) float64 for these original ids per block; `stream` keeps kinds of ids apart.

    A number depends on (seed, stream, block, id) alone: removing the lowest in rounds removes what one round does.
    """
    return [
        torch.from_numpy(
            np.random.default_rng([seed, stream, block]).random(max(mine, default=-1) + 1)[list(mine)]
        )
        for block, mine in enumerate(ids)
    ]


def count_of(fraction: float, per_block: int, blocks: int) -> int:
    """A fraction of an unpruned model's heads or patch tokens as a count: int(per_block x blocks x fraction)."""
    if not 0 <= fraction < 1:
        raise ConfigError(f"a pruning fraction must lie in 0..1 (1 excluded), not {fraction}")
    # 0.29 * 100 is 28.999..; the published counts come from exact products
    return int(per_block * blocks * fraction + 1e-9)


def split_rounds(count: int, rounds: int) -> list[int]:
    """`count` spread over `rounds`, the remainder to the first ones: nothing is lost."""
    if rounds < 1:
        raise ConfigError(f"prune rounds must be at least 1, not {rounds}")
    share, extra = divmod(count, rounds)
    return [share + (index < extra) for index in range(rounds) if share + (index < extra)]


def select_within(scores: Sequence[Tensor], kept: Sequence[int]) -> tuple[list[list[int]], int]:
    """(indices kept per block, how many were removed): each block keeps its own `kept` highest. Ties go by index, the first goes.

    ConfigError when a score is not finite.
    """
    if any(not bool(torch.isfinite(score).all()) for score in scores):
        raise ConfigError(
            "scores are not finite; the weights or what they make of these images overflow: use other weights"
        )
    lists = [
        sorted(score.sort(stable=True).indices[len(score) - count :].tolist())
        for score, count in zip(scores, kept, strict=True)
    ]
    return lists, sum(len(score) - count for score, count in zip(scores, kept, strict=True))


def select(
    scores: Sequence[Tensor], remove: int, *, floor: int, multiple: int = 1, offset: int = 0
) -> tuple[list[list[int]], int]:
    """(indices kept per block, how many were removed) after removing the `remove` LOWEST scores over all blocks.

    No block falls below `floor` entries (a block that is there already keeps all); the next lowest goes instead. With
    `multiple` > 1 each block's kept number plus `offset` (a class token that is not scored) is then rounded up to a multiple where
    that many exist, so fewer may go than asked. Ties go by block, then index. ConfigError when the floors do not leave `remove`
    to take, or a score is not finite.
    """
    if any(not bool(torch.isfinite(score).all()) for score in scores):
        raise ConfigError(
            "scores are not finite; the weights or what they make of these images overflow: use other weights"
        )
    sizes = [len(score) for score in scores]
    spare = [max(size - floor, 0) for size in sizes]
    if not 0 <= remove <= sum(spare):
        raise ConfigError(
            f"asked to remove {remove} of {sum(sizes)}; with {floor} kept per block at most {sum(spare)} can go"
        )
    entries = sorted(
        (value, block, index)
        for block, score in enumerate(scores)
        for index, value in enumerate(score.tolist())
    )
    taken: list[list[int]] = [[] for _ in scores]
    for _, block, index in entries:
        if remove and len(taken[block]) < spare[block]:
            taken[block].append(index)
            remove -= 1
    for block, size in enumerate(sizes):
        kept = size - len(taken[block]) + offset
        back = min(-kept % multiple, len(taken[block]))
        # the last taken are the block's best: they come back first
        taken[block] = taken[block][: len(taken[block]) - back]
    gone = [set(indices) for indices in taken]
    kept_lists = [
        [index for index in range(size) if index not in gone[block]] for block, size in enumerate(sizes)
    ]
    return kept_lists, sum(map(len, taken))
