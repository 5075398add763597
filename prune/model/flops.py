"""Multiply-adds and parameters of a shape, three ways. Needs no weights and runs nothing.

`macs_paper` is the published convention (AMG test.py: the pruned blocks plus one whole last block, softmax counted, no patch
embedding, no JPM). `macs_reference` counts every matrix product of the plain form, `macs_folded` those of the deployed form.
"""

from __future__ import annotations

from typing import Any

import torch

from prune.model.architecture import PARTS, PATCH, Architecture
from prune.model.transreid import TransReID


def block_macs(
    architecture: Architecture, queries: int, keys: int, mlp: int, heads: int, *, hidden: int | None = None
) -> int:
    """Matrix products of one block: `queries` and `keys` tokens in the attention of `heads` heads, `mlp` tokens in the MLP.

    `hidden` are the MLP's neurons, None for all.
    """
    vit = architecture.vit
    inner = heads * vit.head_dim
    projections = 2 * (queries + keys) * inner * vit.width
    return projections + 2 * queries * keys * inner + 2 * mlp * (hidden or vit.hidden) * vit.width


def trunk_block_macs(architecture: Architecture, index: int) -> tuple[int, int]:
    """(matrix products, softmax entries) of block `index` as its token mode runs it; none of a removed one."""
    block = architecture.blocks[index]
    if block.removed:
        return 0, 0
    kept, heads = len(block.tokens), len(block.heads)
    queries = architecture.tokens if architecture.mode == "kv" else kept
    macs = block_macs(architecture, queries, kept, queries, heads, hidden=block.hidden)
    return macs, heads * queries * kept


def macs_paper(architecture: Architecture) -> int:
    """The published FLOPs column, in multiply-adds: 15.26 and 6.75 G for the paper's 15.3 and 6.8."""
    pruned = sum(sum(trunk_block_macs(architecture, index)) for index in range(architecture.prunable))
    whole, heads = architecture.tokens, architecture.vit.heads
    return pruned + block_macs(architecture, whole, whole, whole, heads) + heads * whole * whole


def patch_macs(architecture: Architecture) -> int:
    """The patch embedding's convolution."""
    return architecture.patches * 3 * PATCH * PATCH * architecture.vit.width


def macs_reference(architecture: Architecture) -> int:
    """Every matrix product of the plain form: patch embedding, trunk, and the two JPM branches in full."""
    total = patch_macs(architecture) + sum(
        trunk_block_macs(architecture, index)[0] for index in range(len(architecture.blocks))
    )
    if architecture.jpm:
        local = architecture.patches // PARTS + 1
        for tokens, times in ((architecture.tokens, 1), (local, PARTS)):
            total += times * block_macs(architecture, tokens, tokens, tokens, architecture.vit.heads)
    return total


def macs_folded(architecture: Architecture) -> int:
    """Every matrix product of the deployed form: the last block(s) for the class-token query only, keys and values folded away."""
    vit = architecture.vit
    total = patch_macs(architecture) + sum(
        trunk_block_macs(architecture, index)[0] for index in range(architecture.prunable)
    )
    inner = vit.heads * vit.head_dim
    for outputs in (1, PARTS) if architecture.jpm else (1,):
        query = 2 * inner * vit.width
        attention = (1 + outputs) * vit.heads * architecture.tokens * vit.width
        total += query + attention + outputs * (2 * inner * vit.width + 2 * vit.hidden * vit.width)
    return total


def parameters(architecture: Architecture) -> int:
    """Parameters that inference reads: no classifiers, and no necks where the descriptor is taken before them."""
    with torch.device("meta"):
        model = TransReID(architecture)
    unread = ("classifier",) if architecture.neck == "after" else ("classifier", "bottleneck")
    return sum(value.numel() for name, value in model.named_parameters() if not name.startswith(unread))


def report(architecture: Architecture) -> dict[str, Any]:
    """{macs_paper, macs_reference, macs_folded, params, heads[], tokens[], hidden[]} of a shape."""
    return {
        "macs_paper": macs_paper(architecture),
        "macs_reference": macs_reference(architecture),
        "macs_folded": macs_folded(architecture),
        "params": parameters(architecture),
        "heads": [len(block.heads) for block in architecture.blocks],
        "tokens": [len(block.tokens) for block in architecture.blocks],
        "hidden": list(architecture.hidden),
    }
