"""Replace a batch-norm neck by a factor and a summand."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from prune.model.families.table import Part
from prune.model.transreid import TransReID


def neck_affine(model: TransReID, part: Part) -> tuple[Tensor, Tensor]:
    """Return (scale, shift), both (width,), that replace the batch-norm neck of a part and its weight in the descriptor.

    They are applied as feature * scale + shift to the feature (B, width) before the neck.
    """
    neck: Any = getattr(model, f"bottleneck{part.suffix}")
    scale = neck.weight.detach() / (neck.running_var + neck.eps).sqrt()
    return scale * part.weight, (neck.bias.detach() - neck.running_mean * scale) * part.weight
