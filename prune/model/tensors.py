"""Which tensors a model file may hold. Knows no model."""

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


def refuse_odd(tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """ArtifactError for a tensor that is no plain array of real numbers: sparse, quantised, without values, of another type.

    One whose values are fewer than its shape says, repeated by strides, could fill the memory as soon as anything reads it.
    """
    for name, value in tensors.items():
        if reason := _oddity(value):
            raise ArtifactError(
                f"{path}: the tensor {printable(name)} {reason}; re-save the state_dict as plain float tensors "
                "on the machine that made it"
            )


def _oddity(value: Tensor) -> str | None:
    if value.device.type != "cpu":
        return f"has no values (device {value.device.type})"
    if value.layout != torch.strided or value.is_quantized or value.dtype not in TYPES:
        return f"is a {str(value.layout).removeprefix('torch.')} {str(value.dtype).removeprefix('torch.')} tensor"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"says {tuple(value.shape)} but holds {value.untyped_storage().nbytes()} bytes"
    return None
