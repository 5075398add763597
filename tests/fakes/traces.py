"""One trace of torch's exporter for each form and input, shared by all tests of a run.

The trace takes nine tenths of the time of an export. All that follows it (simplifying, lowering, the gate) runs in every test.
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
    """Pickles all that a form computes with: of a tensor its numbers, not where they lie in memory."""

    def persistent_id(self, item: Any) -> Any:
        """What stands for `item` in the pickle; None for the item itself."""
        if isinstance(item, torch.Tensor):
            return str(item.dtype), tuple(item.shape), item.detach().numpy().tobytes()
        # the order of a set differs between processes
        return sorted(item) if isinstance(item, set) else None


def key_of(form: torch.nn.Module, *more: Any) -> str:
    """SHA-256 of a form's classes, settings and numbers, and of `more`."""
    content = io.BytesIO()
    pickler = Contents(content)
    # no references to what stood before: equal strings may be one object or two
    pickler.fast = True
    pickler.dump((form, more))
    return hashlib.sha256(content.getvalue()).hexdigest()


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[None]:
    """The export reads a trace from `folder` where one of an equal form lies there, and adds it where none does."""

    def traced(form: torch.nn.Module, spec: Any) -> onnx.ModelProto:
        # the exporter never sees the number of a fixed batch
        path = folder / f"{key_of(form.eval(), replace(spec, batch=None))}.onnx"
        if not path.exists():
            temporary = path.with_suffix(f".{os.getpid()}")
            onnx.save(to_onnx(form, spec), temporary)
            temporary.replace(path)
        return onnx.load(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "to_onnx", traced)
        yield
