"""Trace each model with torch's exporter only once in a run of the tests, and share the trace between them.

The trace takes nine tenths of the time of an export. The later steps (simplification, conversion to a precision, the gate) run in each
test.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from export import exporting
from export.graph import to_onnx


class Contents(pickle.Pickler):
    """Pickles a model so that models with equal settings and numbers give equal bytes, wherever their tensors lie in memory."""

    def persistent_id(self, item: Any) -> Any:
        """Return what is written in place of `item`, or None to pickle the item itself."""
        if isinstance(item, torch.Tensor):
            return str(item.dtype), tuple(item.shape), item.detach().numpy().tobytes()
        # The order of a set differs between processes.
        return sorted(item) if isinstance(item, set) else None


def key_of(form: torch.nn.Module, *more: Any) -> str:
    """Return the SHA-256 of a model's classes, settings and numbers, and of `more`."""
    content = io.BytesIO()
    pickler = Contents(content)
    # Write no references to earlier objects, because equal strings may be one object in one process and two in another.
    pickler.fast = True
    pickler.dump((form, more))
    return hashlib.sha256(content.getvalue()).hexdigest()


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Within the block, make exports use a trace in `folder` of an equal model, and add the traces that it lacks."""

    def traced(form: torch.nn.Module, spec: Any) -> onnx.ModelProto:
        # The trace does not depend on the number of a fixed batch size.
        path = folder / f"{key_of(form.eval(), replace(spec, batch=None))}.onnx"
        if not path.exists():
            temporary = path.with_suffix(f".{os.getpid()}")
            onnx.save(to_onnx(form, spec), temporary)
            temporary.replace(path)
        return onnx.load(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "to_onnx", traced)
        yield
