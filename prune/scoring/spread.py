"""A configuration's pruning spread evenly over the blocks: the shape that its fractions would leave. Scores nothing."""

from __future__ import annotations

from prune.config.load import Config
from prune.model.architecture import REMOVED, Architecture, BlockArchitecture, removed_count
from prune.scoring.scores import count_of
from runtime.errors import ConfigError


def spread(config: Config) -> Architecture:
    """The configuration's pruning spread evenly over the blocks (the first ones lose the remainder); which ids go is arbitrary.

    Blocks that go by their cost in features, which needs a model, are taken from the end.
    """
    architecture, prune = config.architecture(), config.prune
    gone = removed_count(architecture, prune.blocks.removed)
    removed = prune.blocks.removed
    last = range(architecture.prunable - gone, architecture.prunable)
    left = [
        index
        for index in range(architecture.prunable)
        if index not in (last if isinstance(removed, int) else removed)
    ]
    blocks = len(left)
    heads = prune.heads.count
    if heads is None:
        heads = count_of(prune.heads.fraction, architecture.vit.heads, blocks)
    tokens = prune.tokens.count
    if tokens is None:
        tokens = count_of(prune.tokens.fraction, architecture.patches, blocks)
    neurons = count_of(prune.mlp.pruned, architecture.vit.hidden, blocks)
    if heads > blocks * (architecture.vit.heads - 1) or tokens > blocks * architecture.patches:
        raise ConfigError(
            f"cannot remove {heads} heads and {tokens} tokens from {blocks} blocks; lower the fractions"
        )

    def kept(whole: int, going: int, place: int) -> int:
        return whole - going // blocks - (place < going % blocks)

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
    whole = architecture.with_blocks(tuple(pruned) + architecture.blocks[architecture.prunable :])
    return Architecture.from_json(whole.to_json() | {"mode": prune.mode})
