"""The last block and the output of a folded model: from the tokens before the last block to the descriptor before L2-normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from export.folding.head import ClassTokenBlock
from export.folding.leading import LeadingOutput
from export.folding.necks import neck_affine
from export.folding.projected import ProjectedOutput
from prune.model.architecture import Architecture
from prune.model.block import Block
from prune.model.families.outputs import pooled
from prune.model.families.table import PARTS
from prune.model.jpm import local_groups

# Stands for minus infinity in a mask: it is finite in float16, and its exp() is 0 in float16 and float32.
MASKED = -30000.0


class ClassOutput(nn.Module):
    """The class token, or the global and the four local features of the jigsaw patch module (JPM), with equal widths.

    - The last block, or each branch of the JPM, is computed for the class token only.
    - The division of the local features by 4 is folded into the last norm. If the feature is taken after the batch-norm necks, the
      necks and this division together become `scale` and `shift`, both (parts, D); otherwise these are None.
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, network: Any, order: list[int]) -> None:
        super().__init__()
        architecture = network.architecture
        if architecture.jpm:
            self.heads = nn.ModuleList(
                [
                    ClassTokenBlock(network.b1[0], network.b1[1]),
                    ClassTokenBlock(network.b2[0], network.b2[1], group_mask(architecture, order)),
                ]
            )
        else:
            self.heads = nn.ModuleList([ClassTokenBlock(network.base.blocks[-1], network.base.norm)])
        after = architecture.neck == "after"
        if not after and architecture.jpm:
            # Only the division of the local parts by 4 is left, and it fits into their final norm.
            width = architecture.vit.width
            network.b2[1].weight.data /= PARTS
            network.b2[1].bias.data /= PARTS
            if network.base.stem is not None:
                network.base.stem.skip.weight.data[width:] /= PARTS
                network.base.stem.skip.bias.data[width:] /= PARTS
        pairs = [neck_affine(network, part) for part in architecture.parts]
        self.register_buffer("scale", torch.stack([scale for scale, _ in pairs]) if after else None)
        self.register_buffer("shift", torch.stack([shift for _, shift in pairs]) if after else None)

    def forward(self, tokens: Tensor, skip: Tensor | None) -> Tensor:
        """Return the descriptor (B, dim) of the tokens (B, N, D) before the last block; `skip` (B, dim) is added before the necks."""
        parts = torch.cat([head(tokens) for head in self.heads], dim=1)
        if skip is not None:
            parts = parts + skip.reshape(parts.shape)
        if self.scale is not None and self.shift is not None:
            parts = parts * self.scale + self.shift
        return parts.flatten(1)


class PooledOutput(nn.Module):
    """The pooled patch tokens, for which the whole last block is computed.

    `back` brings the tokens back into their original order, which only the pooling avg_max needs (None: they are in it, or it does
    not matter). `scale` and `shift` (D,) replace the batch-norm neck; None if the feature is taken before it.
    """

    back: Tensor | None
    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, network: Any, order: list[int]) -> None:
        super().__init__()
        architecture = network.architecture
        self.pooling, self.leading = architecture.pooling, architecture.leading
        self.block, self.norm = network.base.blocks[-1], network.base.norm
        fold_scale(self.block)
        moved = self.pooling == "avg_max" and order != sorted(order)
        self.register_buffer("back", torch.tensor(order).argsort() if moved else None)
        scale, shift = neck_affine(network, architecture.parts[0])
        after = architecture.neck == "after"
        self.register_buffer("scale", scale if after else None)
        self.register_buffer("shift", shift if after else None)

    def forward(self, tokens: Tensor, skip: Tensor | None) -> Tensor:
        """Return the descriptor (B, D) of the tokens (B, N, D) before the last block; `skip` is None."""
        x = self.norm(self.block(tokens if self.back is None else tokens.index_select(1, self.back)))
        feature = pooled(x[:, 0], x[:, self.leading :], self.pooling)
        if self.scale is not None and self.shift is not None:
            feature = feature * self.scale + self.shift
        return feature


# `Architecture.output` -> the module that a folded model ends with, made from the network and the order of its tokens
OUTPUTS = {
    "class": ClassOutput,
    "jpm": ClassOutput,
    "pooled": PooledOutput,
    "projected": ProjectedOutput,
    "pass": LeadingOutput,
    "pass_mean": LeadingOutput,
    "pass_one_neck": LeadingOutput,
    "pass_mean_one_neck": LeadingOutput,
}


def folded_output(network: Any, order: list[int]) -> nn.Module:
    """Return the module that replaces the last block, the last norm, the output and the necks of `network`.

    `network` is a copy of a TransReID model, whose layers the module takes over and changes. `order[i]` is the original id of the
    token at position i before the last block. The module maps (the tokens (B, N, D), what a stem adds to the descriptor, or None) to
    the descriptor (B, dim).
    """
    return OUTPUTS[network.architecture.output](network, order)


def fold_scale(block: Block) -> None:
    """Multiply the query weights and bias of a block by its attention scale, in place, and set the scale to 1."""
    attn: Any = block.attn
    inner = attn.heads * attn.head_dim
    attn.qkv.weight.data[:inner] *= attn.scale
    if attn.qkv.bias is not None:
        attn.qkv.bias.data[:inner] *= attn.scale
    attn.scale = 1.0


def group_mask(architecture: Architecture, order: list[int]) -> Tensor:
    """Return the additive attention masks (4, N) of the JPM's four local groups, one row each.

    `order[i]` is the original id of the token at position i. A row is 0 for the class token and for the tokens of its group, and
    MASKED for the others. With an odd number of patches a token can be in a group twice; its value is then log 2, so that the
    softmax counts it twice.
    """
    mask = torch.full((PARTS, architecture.tokens), MASKED)
    position = {token: index for index, token in enumerate(order)}
    for row, group in enumerate(local_groups(architecture.patches, PARTS, rearrange=architecture.rearrange)):
        for token in (0, *group):
            mask[row, position[token]] = torch.tensor(float((0, *group).count(token))).log()
    return mask
