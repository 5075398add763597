"""`Artifact`, a verified, opened model file. `runtime.opening` makes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.session import Session
from runtime.spec import InputSpec


@dataclass(frozen=True)
class Artifact:
    """A verified, opened model: `run` is its Session, `sha256` its identity, `dim` its features' width.

    `backend` is what runs it: one of `BACKENDS` (runtime.options.choices), "tensorrt", "tensorrt_rtx", "torch", or None if
    it is not recorded.
    """

    path: Path
    manifest: dict[str, Any]
    spec: InputSpec
    dim: int
    sha256: str
    run: Session
    backend: str | None = None
