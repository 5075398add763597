"""Spread the heads, tokens and neurons that a configuration removes evenly over the blocks.

The multiply-adds of the pruned model can then be counted before any score is measured.
"""

from __future__ import annotations

from prune.config.load import Config
from prune.model.architecture import REMOVED, Architecture, BlockArchitecture
from prune.model.removal import removed_count
from prune.scoring.scores import count_from_fraction
from runtime.errors import ConfigError


def spread(config: Config) -> Architecture:
    """Return the architecture of the pruned model if what `config` removes is spread evenly over the blocks.

    When a count does not divide evenly, the first blocks lose one more. Which heads and tokens are removed is arbitrary. If
    `config` gives a number of blocks to remove, these are the last prunable ones, because measuring the effect of each block needs
    a model. Raises ConfigError when the blocks do not have enough heads or tokens.
    """
    architecture, prune = config.architecture(), config.prune
    removed = prune.blocks.removed
    last = range(architecture.prunable - removed_count(architecture, removed), architecture.prunable)
    left = [
        index
        for index in range(architecture.prunable)
        if index not in (last if isinstance(removed, int) else removed)
    ]
    blocks = len(left)
    heads = prune.heads.count
    if heads is None:
        heads = count_from_fraction(prune.heads.fraction, architecture.vit.heads, blocks)
    tokens = prune.tokens.count
    if tokens is None:
        tokens = count_from_fraction(prune.tokens.fraction, architecture.patches, blocks)
    neurons = count_from_fraction(prune.mlp.pruned, architecture.vit.hidden, blocks)
    if heads > blocks * (architecture.vit.heads - 1) or tokens > blocks * architecture.patches:
        raise ConfigError(
            f"cannot remove {heads} heads and {tokens} tokens from {blocks} blocks; lower the fraction or count of prune.heads "
            "or prune.tokens"
        )

    def kept(total: int, removed_in_all: int, place: int) -> int:
        return total - removed_in_all // blocks - (place < removed_in_all % blocks)

    pruned = [REMOVED] * architecture.prunable
    for place, index in enumerate(left):
        hidden = kept(architecture.vit.hidden, neurons, place)
        pruned[index] = BlockArchitecture(
            tuple(range(kept(architecture.vit.heads, heads, place))),
            tuple(range(kept(architecture.tokens, tokens, place))),
            None if hidden == architecture.vit.hidden else hidden,
        )
    if prune.mode not in ("bypass", "kv"):
        raise ConfigError(f"prune.mode {prune.mode!r} is not bypass or kv")
    spread_out = architecture.with_blocks(tuple(pruned) + architecture.blocks[architecture.prunable :])
    return Architecture.from_json(spread_out.to_json() | {"mode": prune.mode})
