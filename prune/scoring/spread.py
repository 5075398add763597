"""A configuration's pruning spread evenly over the blocks: the shape that its fractions would leave. Scores nothing."""

from __future__ import annotations

from prune.config.load import Config
from prune.model.architecture import REMOVED, BlockShape, Shape, removed_count
from prune.scoring.scores import count_of
from runtime.errors import ConfigError


def spread(config: Config) -> Shape:
    """The configuration's pruning spread evenly over the blocks (the first ones lose the remainder); which ids go is arbitrary.

    Blocks that go by their cost in features, which needs a model, are taken from the end.
    """
    shape, prune = config.shape(), config.prune
    gone = removed_count(shape, prune.blocks.removed)
    removed = prune.blocks.removed
    last = range(shape.prunable - gone, shape.prunable)
    left = [
        index
        for index in range(shape.prunable)
        if index not in (last if isinstance(removed, int) else removed)
    ]
    blocks = len(left)
    heads = prune.heads.count
    if heads is None:
        heads = count_of(prune.heads.fraction, shape.vit.heads, blocks)
    tokens = prune.tokens.count
    if tokens is None:
        tokens = count_of(prune.tokens.fraction, shape.patches, blocks)
    neurons = count_of(prune.mlp.pruned, shape.vit.hidden, blocks)
    if heads > blocks * (shape.vit.heads - 1) or tokens > blocks * shape.patches:
        raise ConfigError(
            f"cannot remove {heads} heads and {tokens} tokens from {blocks} blocks; lower the fractions"
        )

    def kept(whole: int, going: int, place: int) -> int:
        return whole - going // blocks - (place < going % blocks)

    pruned = [REMOVED] * shape.prunable
    for place, index in enumerate(left):
        hidden = kept(shape.vit.hidden, neurons, place)
        pruned[index] = BlockShape(
            tuple(range(kept(shape.vit.heads, heads, place))),
            tuple(range(kept(shape.tokens, tokens, place))),
            None if hidden == shape.vit.hidden else hidden,
        )
    if prune.mode not in ("bypass", "kv"):
        raise ConfigError(f"prune.mode {prune.mode!r} is not bypass or kv")
    whole = shape.with_blocks(tuple(pruned) + shape.blocks[shape.prunable :])
    return Shape.from_json(whole.to_json() | {"mode": prune.mode})
