"""The folded output of PASS: the last block for its four leading tokens only, which become the descriptor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from export.folding.head import ClassTokenBlock
from export.folding.necks import neck_affine
from prune.model.families.pass_reid import token_parts
from prune.model.families.table import Part


class LeadingOutput(nn.Module):
    """The four leading tokens, weighted and added up to the descriptor.

    `scale` (4, 1) has the weight of each token in the descriptor. If the feature is taken after the batch-norm necks, `scale` and
    `shift`, both (4, D), are the necks together with these weights; otherwise `shift` is None. With `joined`, all tokens are added,
    as in PASS with FEAT_FUSION mean; otherwise only the part tokens are, and the class token stands before them.
    """

    scale: Tensor
    shift: Tensor | None

    def __init__(self, network: Any, order: list[int]) -> None:
        super().__init__()
        architecture = network.architecture
        base = network.base
        self.head = ClassTokenBlock(base.blocks[-1], base.norm, leading=architecture.leading)
        tokens = token_parts(architecture)
        self.joined = tokens[-1].slot == 0
        scale, shift = torch.tensor([[token.weight] for token in tokens]), None
        if architecture.neck == "after":
            pairs = _necks(network, tokens)
            scale, shift = (torch.stack(column) for column in zip(*pairs))
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, tokens: Tensor, skip: Tensor | None) -> Tensor:
        """Return the descriptor (B, dim) of the tokens (B, N, D) before the last block; `skip` is None."""
        features: Tensor = self.head(tokens) * self.scale
        if self.shift is not None:
            features = features + self.shift
        if self.joined:
            return features.sum(dim=1)
        return torch.cat([features[:, 0], features[:, 1:].sum(dim=1)], dim=1)


def _necks(network: Any, tokens: tuple[Part, ...]) -> list[tuple[Tensor, Tensor]]:
    """Return (scale, shift), both (D,), for each leading token: its neck, or its share of the single neck."""
    parts, width = network.architecture.parts, network.architecture.vit.width
    if len(parts) == len(tokens):
        return [neck_affine(network, part) for part in parts]
    # The single neck acts on a sum of weighted tokens. The weights add up to 1, so its shift can be shared out by them.
    scale, shift = (values.view(-1, width) for values in neck_affine(network, parts[0]))
    return [(scale[token.slot] * token.weight, shift[token.slot] * token.weight) for token in tokens]
