"""`python -m prune.flops`: the multiply-adds and parameters of a model file, or of what a configuration would leave."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from prune.config.load import Config, load_config
from prune.model.architecture import REMOVED, BlockShape, Shape, removed_count
from prune.model.flops import report
from prune.scoring.scores import count_of
from runtime.console import print_table
from runtime.errors import ConfigError
from runtime.files.manifest import read_manifest


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


def main(argv: Sequence[str] | None = None) -> int:
    """Print the multiply-adds of a model or a configuration three ways, its parameters, and heads and tokens per block."""
    parser = argparse.ArgumentParser(prog="python -m prune.flops", description=main.__doc__)
    parser.add_argument("model", nargs="?", help="model.safetensors (its shape is read from the manifest)")
    parser.add_argument("--config", help="our YAML or the authors'; its fractions are spread uniformly")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", dest="overrides")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    if bool(args.model) == bool(args.config):
        raise ConfigError("give either model.safetensors or --config C")
    if args.model:
        shape = Shape.from_json(read_manifest(args.model).get("shape", {}), f"{args.model}.json")
    else:
        shape = spread(load_config(args.config, args.overrides))
    numbers = report(shape)
    if args.json:
        print(json.dumps(numbers))
        return 0
    rows = [
        [name, f"{numbers[name] / 1e9:.2f} G"] for name in ("macs_paper", "macs_reference", "macs_folded")
    ]
    rows += [["params", f"{numbers['params'] / 1e6:.2f} M"]]
    rows += [
        [f"{name} per block", " ".join(map(str, numbers[name]))] for name in ("heads", "tokens", "hidden")
    ]
    print_table(f"{shape.variant} {shape.height}x{shape.width} stride {shape.stride}", ["", ""], rows)
    return 0
