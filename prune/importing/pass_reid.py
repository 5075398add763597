"""Rename the tensors of a PASS checkpoint to this project's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

TOKENS = ("base.cls_token", "base.part_token1", "base.part_token2", "base.part_token3")
POSITIONS = ("base.cls_pos", "base.part1_pos", "base.part2_pos", "base.part3_pos", "base.pos_embed")


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of PASS (`state`) with its four leading tokens in one tensor, and all positions in another.

    `base.cls_token` becomes (1, 4, D): the class token and the three part tokens. `base.pos_embed` becomes (1, 4 + P, D): their
    positions and those of the patches. Tensors that cannot be joined keep their names.
    """
    tensors = dict(state)
    for names, joined in ((TOKENS, "base.cls_token"), (POSITIONS, "base.pos_embed")):
        if _joinable([state.get(name) for name in names]):
            for name in names:
                del tensors[name]
            tensors[joined] = torch.cat([state[name] for name in names], dim=1)
    return tensors


def pass_family(state: Mapping[str, Tensor]) -> str | None:
    """Return the family of a PASS checkpoint whose tensors are `renamed`; None for other checkpoints.

    With MULTI_NECK, there are four necks. The width of the single neck, or else of the classifier, shows FEAT_FUSION: `mean` has one
    token's width, and `cat`, which is also assumed where the classifier is missing, has two.
    """
    token = state.get("base.cls_token")
    if token is None or token.dim() != 3:
        return None
    # Tensors that could not be joined still show PASS, so that the message about them names them.
    if token.shape[1] != len(TOKENS) and not any(key in state for key in TOKENS[1:]):
        return None
    one_neck = "bottleneck_1.weight" not in state
    fused = state.get("bottleneck.weight" if one_neck else "classifier.weight")
    mean = fused is not None and fused.dim() > 0 and fused.shape[-1] == token.shape[2]
    return "pass" + "_mean" * mean + "_one_neck" * one_neck


def _joinable(values: Sequence[Tensor | None]) -> bool:
    """Whether all values are tensors (1, n, D) with the same D."""
    shapes = [value.shape if value is not None and value.dim() == 3 else (0, 0, 0) for value in values]
    return all(batch == 1 and width == shapes[0][2] for batch, _, width in shapes)
