"""A verified, opened model. Opens nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.session import Session
from runtime.spec import InputSpec

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Artifact:
    """A verified, opened model: `run` is its Session, `sha256` its identity, `dim` its features' width.

    `engine` is what runs it: one of `BACKENDS` (runtime.options), "tensorrt", "tensorrt_rtx", "torch", or None where nobody says.
    """

    path: Path
    manifest: dict[str, Any]
    spec: InputSpec
    dim: int
    sha256: str
    run: Session
    engine: str | None = None
