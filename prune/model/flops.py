"""Count the multiply-adds of an architecture in three ways, and its parameters. This needs no weights and runs no model.

`macs_paper` follows the published convention (test.py of the AMG code): the prunable blocks, as the architecture prunes them, plus
one unpruned last block. It counts the softmax, but not the patch embedding, the stem and the jigsaw patch module (JPM).
`macs_reference` counts every matrix product of the torch model. `macs_folded` counts those of the graph that is exported by default
(the form `folded` of export_onnx.py).
"""

from __future__ import annotations

from typing import Any

import torch

from prune.model.architecture import PATCH, Architecture
from prune.model.families.ics import ics_macs
from prune.model.families.table import PARTS, PROJECTED
from prune.model.stem import Stem, convolution_macs
from prune.model.transreid import TransReID


def block_macs(
    architecture: Architecture, queries: int, keys: int, mlp: int, heads: int, *, hidden: int | None = None
) -> int:
    """Return the multiply-adds of the matrix products in one block.

    The attention has `heads` heads and reads `queries` and `keys` tokens; the MLP reads `mlp` tokens and has `hidden` neurons
    (None: as many as in the unpruned model).
    """
    vit = architecture.vit
    inner = heads * vit.head_dim
    projections = 2 * (queries + keys) * inner * vit.width
    return projections + 2 * queries * keys * inner + 2 * mlp * (hidden or vit.hidden) * vit.width


def trunk_block_macs(architecture: Architecture, index: int) -> tuple[int, int]:
    """Return (multiply-adds of the matrix products, number of values in the attention maps) of block `index`, for one image.

    Both are 0 if the block is removed. The mode of `architecture`, bypass or kv, says which products pruned tokens take part in.
    """
    block = architecture.blocks[index]
    if block.removed:
        return 0, 0
    kept, heads = len(block.tokens), len(block.heads)
    queries = architecture.tokens if architecture.mode == "kv" else kept
    macs = block_macs(architecture, queries, kept, queries, heads, hidden=block.hidden)
    return macs, heads * queries * kept


def macs_paper(architecture: Architecture) -> int:
    """Return the multiply-adds for one image, counted as in the FLOPs column of the AMG paper.

    For the paper's Base-Head25-Token25 and Small-Head40-Token40 of Occluded-Duke, they are 15.26 and 6.76 G; the paper prints 15.3
    and 6.8.
    """
    prunable_blocks = sum(
        sum(trunk_block_macs(architecture, index)) for index in range(architecture.prunable)
    )
    tokens, heads = architecture.tokens, architecture.vit.heads
    last_block = block_macs(architecture, tokens, tokens, tokens, heads) + heads * tokens * tokens
    return prunable_blocks + last_block


def patch_macs(architecture: Architecture) -> int:
    """Return the multiply-adds of the patch embedding's convolutions."""
    if architecture.kind.embedding == "ics":
        return ics_macs(architecture)
    return architecture.patches * 3 * PATCH * PATCH * architecture.vit.width


def stem_macs(architecture: Architecture) -> int:
    """Return the multiply-adds of the convolutional stem and its two projections, 0 for a plain ViT."""
    sizes = architecture.vit.stem
    if sizes is None:
        return 0
    size = (architecture.height, architecture.width)
    with torch.device("meta"):
        stem = Stem(
            sizes, size, grid=architecture.grid, width=architecture.vit.width, outputs=architecture.dim
        )
    channels, positions = stem.tokens.in_features, stem.sampling.shape[1]
    resampled = (architecture.patches + sizes.stripes) * positions * channels
    projected = architecture.patches * stem.tokens.weight.numel() + stem.skip.weight.numel()
    return convolution_macs(stem, size) + resampled + projected


def output_macs(architecture: Architecture) -> int:
    """Return the multiply-adds of what makes features of the last tokens: CLIP's projection of the class token."""
    return architecture.vit.width * PROJECTED if architecture.output == "projected" else 0


def macs_reference(architecture: Architecture) -> int:
    """Return the multiply-adds of the torch model: patch embedding, stem, trunk, output, and the two JPM branches in full."""
    total = (
        patch_macs(architecture)
        + stem_macs(architecture)
        + output_macs(architecture)
        + sum(trunk_block_macs(architecture, index)[0] for index in range(len(architecture.blocks)))
    )
    if architecture.jpm:
        local = architecture.patches // PARTS + 1
        for tokens, times in ((architecture.tokens, 1), (local, PARTS)):
            total += times * block_macs(architecture, tokens, tokens, tokens, architecture.vit.heads)
    return total


def macs_folded(architecture: Architecture) -> int:
    """Return the multiply-adds of the graph that is exported by default.

    In it, the last block or both JPM branches run for the queries of the leading tokens only, and their key and value projections are
    folded into other products. A model that pools its patch tokens runs the whole last block.
    """
    vit = architecture.vit
    total = (
        patch_macs(architecture)
        + stem_macs(architecture)
        + output_macs(architecture)
        + sum(trunk_block_macs(architecture, index)[0] for index in range(architecture.prunable))
    )
    if architecture.output == "pooled":
        return total + trunk_block_macs(architecture, architecture.prunable)[0]
    inner = vit.heads * vit.head_dim
    leading = architecture.leading
    for queries, outputs in ((1, 1), (1, PARTS)) if architecture.jpm else ((leading, leading),):
        query = queries * 2 * inner * vit.width
        attention = (queries + outputs) * vit.heads * architecture.tokens * vit.width
        total += query + attention + outputs * (2 * inner * vit.width + 2 * vit.hidden * vit.width)
    return total


def parameters(architecture: Architecture) -> int:
    """Return the number of parameters that inference reads: without classifiers, and without necks that come after the descriptor."""
    with torch.device("meta"):
        model = TransReID(architecture)
    unread = ("classifier",) if architecture.neck == "after" else ("classifier", "bottleneck")
    return sum(value.numel() for name, value in model.named_parameters() if not name.startswith(unread))


def flops_report(architecture: Architecture) -> dict[str, Any]:
    """Return {macs_paper, macs_reference, macs_folded, params, heads[], tokens[], hidden[]} as whole numbers.

    The lists have the numbers of heads, tokens (class token included) and MLP neurons of each block of the trunk, all 0 for a removed
    block. The JPM branches are not in the lists.
    """
    return {
        "macs_paper": macs_paper(architecture),
        "macs_reference": macs_reference(architecture),
        "macs_folded": macs_folded(architecture),
        "params": parameters(architecture),
        "heads": [len(block.heads) for block in architecture.blocks],
        "tokens": [len(block.tokens) for block in architecture.blocks],
        "hidden": list(architecture.hidden),
    }
