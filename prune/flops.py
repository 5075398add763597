"""Multiply-adds and parameters of a shape, three ways. Needs no weights and runs nothing.

`macs_paper` is the published convention (AMG test.py: the pruned blocks plus one whole last block, softmax counted, no patch
embedding, no JPM). `macs_reference` counts every matrix product of the plain form, `macs_folded` those of the deployed form.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.errors import command

    raise SystemExit(command("prune.flops"))

import argparse
import json
from collections.abc import Sequence
from typing import Any

import torch

from prune.config import Config, load_config
from prune.model import TransReID
from prune.scores import count_of
from prune.shape import PARTS, PATCH, REMOVED, BlockShape, Shape, removed_count
from runtime.console import print_table
from runtime.errors import ConfigError
from runtime.manifest import read_manifest


def block_macs(
    shape: Shape, queries: int, keys: int, mlp: int, heads: int, *, hidden: int | None = None
) -> int:
    """Matrix products of one block: `queries` and `keys` tokens in the attention of `heads` heads, `mlp` tokens in the MLP.

    `hidden` are the MLP's neurons, None for all.
    """
    vit = shape.vit
    inner = heads * vit.head_dim
    projections = 2 * (queries + keys) * inner * vit.width
    return projections + 2 * queries * keys * inner + 2 * mlp * (hidden or vit.hidden) * vit.width


def trunk_block_macs(shape: Shape, index: int) -> tuple[int, int]:
    """(matrix products, softmax entries) of block `index` as its token mode runs it; none of a removed one."""
    block = shape.blocks[index]
    if block.removed:
        return 0, 0
    kept, heads = len(block.tokens), len(block.heads)
    queries = shape.tokens if shape.mode == "kv" else kept
    macs = block_macs(shape, queries, kept, queries, heads, hidden=block.hidden)
    return macs, heads * queries * kept


def macs_paper(shape: Shape) -> int:
    """The published FLOPs column, in multiply-adds: 15.26 and 6.75 G for the paper's 15.3 and 6.8."""
    pruned = sum(sum(trunk_block_macs(shape, index)) for index in range(shape.prunable))
    whole, heads = shape.tokens, shape.vit.heads
    return pruned + block_macs(shape, whole, whole, whole, heads) + heads * whole * whole


def patch_macs(shape: Shape) -> int:
    """The patch embedding's convolution."""
    return shape.patches * 3 * PATCH * PATCH * shape.vit.width


def macs_reference(shape: Shape) -> int:
    """Every matrix product of the plain form: patch embedding, trunk, and the two JPM branches in full."""
    total = patch_macs(shape) + sum(trunk_block_macs(shape, index)[0] for index in range(len(shape.blocks)))
    if shape.jpm:
        local = shape.patches // PARTS + 1
        for tokens, times in ((shape.tokens, 1), (local, PARTS)):
            total += times * block_macs(shape, tokens, tokens, tokens, shape.vit.heads)
    return total


def macs_folded(shape: Shape) -> int:
    """Every matrix product of the deployed form: the last block(s) for the class-token query only, keys and values folded away."""
    vit = shape.vit
    total = patch_macs(shape) + sum(trunk_block_macs(shape, index)[0] for index in range(shape.prunable))
    inner = vit.heads * vit.head_dim
    for outputs in (1, PARTS) if shape.jpm else (1,):
        query = 2 * inner * vit.width
        attention = (1 + outputs) * vit.heads * shape.tokens * vit.width
        total += query + attention + outputs * (2 * inner * vit.width + 2 * vit.hidden * vit.width)
    return total


def parameters(shape: Shape) -> int:
    """Parameters that inference reads: no classifiers, and no necks where the descriptor is taken before them."""
    with torch.device("meta"):
        model = TransReID(shape)
    unread = ("classifier",) if shape.neck == "after" else ("classifier", "bottleneck")
    return sum(value.numel() for name, value in model.named_parameters() if not name.startswith(unread))


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


def report(shape: Shape) -> dict[str, Any]:
    """{macs_paper, macs_reference, macs_folded, params, heads[], tokens[], hidden[]} of a shape."""
    return {
        "macs_paper": macs_paper(shape),
        "macs_reference": macs_reference(shape),
        "macs_folded": macs_folded(shape),
        "params": parameters(shape),
        "heads": [len(block.heads) for block in shape.blocks],
        "tokens": [len(block.tokens) for block in shape.blocks],
        "hidden": list(shape.hidden),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m prune.flops --config C | model.safetensors`: multiply-adds three ways, parameters, heads and tokens per block."""
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
