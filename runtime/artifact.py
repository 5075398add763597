"""The class `Artifact`: a model file that was verified and opened. `runtime.opening` creates its objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.session import Session
from runtime.spec import InputSpec


@dataclass(frozen=True)
class Artifact:
    """A model file that was verified and opened.

    `path` is the file. `manifest` is the content of its JSON manifest, and `spec` describes the model's input. `dim` is the
    number of values in one feature. `sha256` is the hash of the file, which identifies the model. `run` is the session that
    computes the features. `backend` names the library that runs the model: one of `BACKENDS` (runtime.options.choices),
    "tensorrt", "tensorrt_rtx" or "torch". It is None if the library is not recorded.
    """

    path: Path
    manifest: dict[str, Any]
    spec: InputSpec
    dim: int
    sha256: str
    run: Session
    backend: str | None = None

    @property
    def projection(self) -> str | None:
        """The sha256 of the projection that the model ends with, as its manifest records it; None for a model without one."""
        output = self.manifest.get("output")
        entry = output.get("projection") if isinstance(output, dict) else None
        digest = entry.get("sha256") if isinstance(entry, dict) else None
        return digest if isinstance(digest, str) else None
