"""The features that a model takes from its last tokens, and the descriptor that they become."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prune.model.architecture import Architecture
from prune.model.families.table import GROUPED, Part

# The exponent of generalised-mean (GeM) pooling, and the smallest value that is raised to it.
GEM_POWER, GEM_FLOOR = 3.0, 1e-6


class ClassToken(nn.Module):
    """The class token is the only feature."""

    def __init__(self, architecture: Architecture) -> None:
        # it needs nothing of the architecture, but all OUTPUTS are made alike
        super().__init__()

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the features, each (B, D), of the tokens (B, N, D) after the last norm."""
        return [tokens[:, 0]]


class PooledPatches(nn.Module):
    """PersonViT's pooling of the patch tokens; `pooling` is one of POOLINGS."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.pooling, self.leading = architecture.pooling, architecture.leading

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the features, each (B, D), of the tokens (B, N, D) after the last norm, in their original order."""
        return [pooled(tokens[:, 0], tokens[:, self.leading :], self.pooling)]


def pooled(class_token: Tensor, patches: Tensor, pooling: str) -> Tensor:
    """Return (B, D): `patches` (B, P, D) pooled as `pooling` says, one of POOLINGS.

    `gem` adds the `class_token` (B, D), as published; the other poolings do not read it. `avg_max` needs the patches in row-major
    order.
    """
    if pooling == "avg":
        return patches.mean(dim=1)
    if pooling == "max":
        return patches.amax(dim=1)
    if pooling == "avg_max":
        return patches.unflatten(1, (-1, GROUPED)).amax(dim=2).mean(dim=1)
    return class_token + patches.clamp_min(GEM_FLOOR).pow(GEM_POWER).mean(dim=1).pow(1 / GEM_POWER)


def combined(features: Sequence[Tensor], parts: Sequence[Part]) -> Tensor:
    """Return the descriptor (B, dim) of the `features`, each (B, width), of the `parts` of an architecture."""
    slots: dict[int, Tensor] = {}
    for feature, part in zip(features, parts, strict=True):
        weighted = feature if part.weight == 1 else feature * part.weight
        slots[part.slot] = slots[part.slot] + weighted if part.slot in slots else weighted
    return torch.cat([slots[slot] for slot in sorted(slots)], dim=1)
