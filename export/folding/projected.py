"""The folded output of CLIP-ReID: the class token of the last norm and its projection."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from export.folding.head import ClassTokenBlock
from export.folding.necks import neck_affine


class ProjectedOutput(nn.Module):
    """The last block for the class token only, then the two features of CLIP-ReID.

    If the features are taken after the batch-norm necks, the neck of the projected feature is folded into its projection, and
    `scale` and `shift` (D,) replace the other; otherwise these are None.
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, network: Any, order: list[int]) -> None:
        super().__init__()
        architecture = network.architecture
        self.head = ClassTokenBlock(network.base.blocks[-1], network.base.norm)
        projection = network.output.proj
        self.proj = nn.Linear(projection.in_features, projection.out_features)
        scale, shift = None, None
        weight, bias = projection.weight.detach(), torch.zeros(projection.out_features)
        if architecture.neck == "after":
            (scale, shift), (gain, bias) = (neck_affine(network, part) for part in architecture.parts)
            weight = weight * gain.unsqueeze(1)
        self.proj.weight.data, self.proj.bias.data = weight, bias
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, tokens: Tensor, skip: Tensor | None) -> Tensor:
        """Return the descriptor (B, dim) of the tokens (B, N, D) before the last block; `skip` is None."""
        class_token = self.head(tokens)[:, 0]
        projected = self.proj(class_token)
        if self.scale is not None and self.shift is not None:
            class_token = class_token * self.scale + self.shift
        return torch.cat([class_token, projected], dim=1)
