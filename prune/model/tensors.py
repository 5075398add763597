"""Check that the tensors of a model file are plain arrays of real numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from runtime.errors import ArtifactError
from runtime.wording import printable

TYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip


def refuse_unusable(tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Raise ArtifactError for the first tensor that is sparse, quantised, of a type not in TYPES, or on the meta device.

    A tensor on the meta device has a shape but no stored values.
    A tensor whose strides repeat a few stored values, as `expand` makes it, is refused too, because a copy of it could fill the
    memory. `tensors` maps names to tensors, and `path` is the file that they were read from.
    """
    for name, value in tensors.items():
        if problem := _problem(value):
            raise ArtifactError(
                f"{path}: the tensor {printable(name)} {problem}; save the state_dict again as plain float tensors "
                "on the machine that made it"
            )


def _problem(value: Tensor) -> str | None:
    if value.device.type != "cpu":
        return f"has no values (device {value.device.type})"
    if value.layout != torch.strided or value.is_quantized or value.dtype not in TYPES:
        return f"is a {str(value.layout).removeprefix('torch.')} {str(value.dtype).removeprefix('torch.')} tensor"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"has the shape {tuple(value.shape)} but holds only {value.untyped_storage().nbytes()} bytes"
    return None
