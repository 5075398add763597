"""Compute the scores of attention heads, patch tokens and MLP neurons, and select the ones to keep by their scores.

All functions are pure functions of tensors. They serve AMG (attention-map-guided pruning, the published method) and the criteria
that AMG is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from runtime.errors import ConfigError


def attention_entropy(attention: Tensor) -> Tensor:
    """Return the head entropies (h,) in bits of an attention map (h, queries, keys) whose rows sum to 1.

    The entropy of a head is the mean over queries of -sum p log2 p, with 0 log 0 = 0. AMG calls it the head redundancy, and
    computes it from an attention map that is averaged over images.
    """
    return torch.special.entr(attention).sum(dim=-1).mean(dim=-1) / math.log(2)


def head_scores(entropies: Sequence[Tensor], *, layer_weight: float) -> list[Tensor]:
    """Return the entropies (h_l,) of each block times the weight of the block; a high value means a diffuse, redundant head.

    The weight of a block is 1 + layer_weight x (number of blocks before it that have more than one head), as published.
    """
    weight, weighted = 1.0, []
    for entropy in entropies:
        weighted.append(weight * entropy)
        weight += layer_weight if len(entropy) > 1 else 0.0
    return weighted


def token_batch_scores(attention: Tensor, gradient: Tensor) -> Tensor:
    """Return the scores (n,) of the key tokens in one batch, from attention maps and their gradients, both (B, h, q, n).

    A score is |mean over B, h, q of gradient x attention|. Signs cancel inside a batch but not between batches, as published.
    """
    return (gradient * attention).mean(dim=(0, 1, 2)).abs()


def token_scores(sums: Sequence[Tensor], *, layer_weight: float) -> list[Tensor]:
    """Return the normalised and weighted importances of each block's patch tokens; a low value means a redundant token.

    `sums` has one tensor (patch tokens,) for each block: the sums over batches of `token_batch_scores`, without the class token. The
    result has the same shapes. Each tensor is divided by its 2-norm and multiplied by 1 - layer_weight x index, where index is its
    0-based position in `sums`. A tensor of zeros stays zero.
    """
    return [
        (1 - layer_weight * index) * total / total.norm().clamp_min(torch.finfo(total.dtype).tiny)
        for index, total in enumerate(sums)
    ]


def head_magnitudes(qkv: Tensor, bias: Tensor | None, proj: Tensor, *, head_dim: int) -> Tensor:
    """Return the 2-norms (h,) of the weights of each head: its rows of `qkv` and `bias`, and its columns of `proj`.

    `qkv` is (3 h head_dim, D), `bias` (3 h head_dim,) or None, and `proj` (D, h head_dim).
    """
    squares = qkv.square().sum(dim=1)
    if bias is not None:
        squares = squares + bias.square()
    rows = squares.unflatten(0, (3, -1, head_dim)).sum(dim=(0, 2))
    return (rows + proj.square().sum(dim=0).unflatten(0, (-1, head_dim)).sum(dim=1)).sqrt()


def neuron_scores(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return the scores (hidden,) of MLP neurons from one batch's activations and their gradients, both (B, n, hidden).

    A score is |sum over tokens of gradient x activation|, summed over images. To first order this is the change of the loss when
    the neuron is removed (Molchanov et al., ICLR 2017, section 2.2). A low score means a redundant neuron.
    """
    return (gradient * activation).sum(dim=1).abs().sum(dim=0)


def neuron_magnitudes(fc1: Tensor, bias: Tensor, fc2: Tensor) -> Tensor:
    """Return the 2-norms (hidden,) of the weights of each MLP neuron: its row of `fc1` and `bias`, and its column of `fc2`.

    `fc1` is (hidden, D), `bias` (hidden,) and `fc2` (D, hidden).
    """
    return (fc1.square().sum(dim=1) + bias.square() + fc2.square().sum(dim=0)).sqrt()


def count_to_remove(present: Sequence[int], kept: Sequence[int], what: str, least: int) -> int:
    """Return how many heads, tokens or neurons must be removed in all so that each block goes from `present` to `kept`.

    `present` and `kept` have a number for each block. Raises ConfigError when their lengths differ, or when a block would keep more
    than it has, or fewer than `least`. `what` is the section of the configuration that the error names: heads, tokens or mlp.
    """
    # A removed block has none and keeps none.
    possible = [least <= keep <= has or keep == has == 0 for keep, has in zip(kept, present)]
    if len(kept) != len(present) or not all(possible):
        raise ConfigError(
            f"prune.{what}.kept {list(kept)}: the blocks of this model have {list(present)}; give {len(present)} numbers, each "
            f"from {least} to the number that its block has"
        )
    return sum(present) - sum(kept)


def relative_magnitudes(magnitudes: Sequence[Tensor]) -> list[Tensor]:
    """Return each block's magnitudes divided by the mean of that block, so that blocks with large and small weights are comparable."""
    return [
        magnitude / magnitude.mean().clamp_min(torch.finfo(magnitude.dtype).tiny) for magnitude in magnitudes
    ]


def class_attention(attention: Tensor, *, leading: int = 1) -> Tensor:
    """Return the attention (n - leading,) of the class token (query 0) to each patch token: a mean over heads, a sum over images.

    `attention` has the maps (B, h, q, n), and `leading` tokens stand before the patch tokens. EViT keeps tokens by this criterion in
    each image (Liang et al., ICLR 2022, section 3.2); here it covers all images.
    """
    return attention[:, :, 0, leading:].mean(dim=1).sum(dim=0)


def random_scores(ids: Sequence[Sequence[int]], *, seed: int, stream: int) -> list[Tensor]:
    """Return uniform random numbers in 0..1, one float64 tensor per block with a number for each of its `ids`.

    `ids` has the ids of each block's heads or tokens in the unpruned model. A number depends only on `seed`, `stream`, block and
    id. Several rounds that remove the lowest numbers therefore remove the same ids as one round. Heads and
    tokens are given different `stream` numbers, so that they draw different random numbers.
    """
    return [
        torch.from_numpy(
            np.random.default_rng([seed, stream, block]).random(max(block_ids, default=-1) + 1)[
                list(block_ids)
            ]
        )
        for block, block_ids in enumerate(ids)
    ]


def count_from_fraction(fraction: float, per_block: int, blocks: int) -> int:
    """Return a fraction of an unpruned model's heads, patch tokens or neurons as a count: int(per_block x blocks x fraction).

    `per_block` is their number in one block of the unpruned model, and `blocks` the number of blocks that can be pruned. Raises
    ConfigError when `fraction` is not at least 0 and less than 1.
    """
    if not 0 <= fraction < 1:
        raise ConfigError(
            f"the fraction to remove must be at least 0 and less than 1, not {fraction}; change prune.heads.fraction, "
            "prune.tokens.fraction or prune.mlp.pruned"
        )
    # In floating point, 0.29 * 100 is 28.999.., but the published counts come from exact products.
    return int(per_block * blocks * fraction + 1e-9)


def split_rounds(count: int, rounds: int) -> list[int]:
    """Return `count` split over `rounds` rounds as evenly as possible, the larger numbers first.

    Rounds that would get 0 are left out, so that the list can be shorter than `rounds`. Raises ConfigError when `rounds` is below 1.
    """
    if rounds < 1:
        raise ConfigError(
            f"prune rounds must be at least 1, not {rounds}; change prune.heads.rounds or prune.tokens.rounds"
        )
    share, extra = divmod(count, rounds)
    return [share + (index < extra) for index in range(rounds) if share + (index < extra)]


def select_per_block(scores: Sequence[Tensor], kept: Sequence[int]) -> tuple[list[list[int]], int]:
    """Keep the `kept[l]` highest scores of each block l; return (indices kept per block, number removed in all).

    `scores` has a tensor for each block, and the indices are positions in it, ascending. Of equal scores, the one with the lower
    index is removed first. Raises ConfigError when a score is not finite.
    """
    if any(not bool(torch.isfinite(score).all()) for score in scores):
        raise ConfigError(
            "the pruning scores are not finite, because the weights or the activations overflow; use other weights"
        )
    lists = [
        sorted(score.sort(stable=True).indices[len(score) - count :].tolist())
        for score, count in zip(scores, kept, strict=True)
    ]
    return lists, sum(len(score) - count for score, count in zip(scores, kept, strict=True))


def select_across_blocks(
    scores: Sequence[Tensor], remove: int, *, floor: int, multiple: int = 1, offset: int = 0
) -> tuple[list[list[int]], int]:
    """Remove the `remove` lowest scores of all blocks together; return (indices kept per block, number removed in all).

    No block is cut below `floor` entries, and a block that has `floor` entries or fewer keeps them all. What such a block does not
    lose is removed from the other blocks. With `multiple` > 1, the number kept in a block plus `offset` is rounded up to a multiple
    of `multiple`, or the block keeps all its entries if it does not have that many. Fewer than `remove` may then be removed. `offset`
    is the number of tokens that are kept too but have no score, such as the class token. Of equal scores, the one in the lower block
    is removed first, and within a block the one with the lower index. Raises ConfigError when the floors allow fewer than `remove` to
    be removed, or when a score is not finite.
    """
    if any(not bool(torch.isfinite(score).all()) for score in scores):
        raise ConfigError(
            "the pruning scores are not finite, because the weights or the activations overflow; use other weights"
        )
    sizes = [len(score) for score in scores]
    removable = [max(size - floor, 0) for size in sizes]
    if not 0 <= remove <= sum(removable):
        raise ConfigError(
            f"cannot remove {remove} of {sum(sizes)} heads, tokens or neurons: each block keeps at least {floor} (floor), so at most "
            f"{sum(removable)} can be removed; lower fraction, count or floor of prune.heads or prune.tokens, or "
            "lower prune.mlp.pruned or prune.mlp.floor"
        )
    entries = sorted(
        (value, block, index)
        for block, score in enumerate(scores)
        for index, value in enumerate(score.tolist())
    )
    removed: list[list[int]] = [[] for _ in scores]
    for _, block, index in entries:
        if remove and len(removed[block]) < removable[block]:
            removed[block].append(index)
            remove -= 1
    for block, size in enumerate(sizes):
        kept = size - len(removed[block]) + offset
        restored = min(-kept % multiple, len(removed[block]))
        # The entries that were removed last have the highest scores, so they are restored first.
        removed[block] = removed[block][: len(removed[block]) - restored]
    removed_sets = [set(indices) for indices in removed]
    kept_lists = [
        [index for index in range(size) if index not in removed_sets[block]]
        for block, size in enumerate(sizes)
    ]
    return kept_lists, sum(map(len, removed))
