"""Open an artifact as a session: verify first, load second. Knows no library that runs models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtifactError, ConfigError, DeviceError, GateError
from runtime.manifest import read_manifest
from runtime.spec import InputSpec

DEVICES = ("cpu", "cuda")


class Session(Protocol):
    """Images (B, ...) as `InputSpec.layout` says and camera ids (B,) or None -> features (B, D) float32."""

    def __call__(
        self, images: NDArray[Any], camera_ids: NDArray[Any] | None = None, /
    ) -> NDArray[np.float32]:
        """Run one batch. NonFiniteFeatures, OutOfMemory or DeviceError when it cannot."""
        ...


class NonFiniteFeatures(GateError):
    """A session gave NaN or infinite features; `rows` are their places in the batch. Exit code 7."""

    def __init__(self, text: str, rows: tuple[int, ...]) -> None:
        super().__init__(text)
        self.rows = rows


class OutOfMemory(DeviceError):
    """The device has no memory for a batch of this size; a smaller one may fit. Exit code 5."""


@dataclass(frozen=True)
class Artifact:
    """A verified, opened model: `run` is its Session, `sha256` its identity, `dim` its features' width."""

    path: Path
    manifest: dict[str, Any]
    spec: InputSpec
    dim: int
    sha256: str
    run: Session


def open_artifact(
    path: Path | str, *, device: str = "cpu", threads: int | None = None, allow_ungated: bool = False
) -> Artifact:
    """The artifact at `path`, opened on `device` ("cpu" or "cuda").

    The file's hash and gate verdict are read from its manifest before anything is loaded. ArtifactError for a
    file that is damaged, unknown or not gated (unless `allow_ungated`, which warns on stderr), DeviceError
    for a device that is not there.
    """
    path = Path(path)
    if path.suffix in (".safetensors", ".pth", ".pt"):
        raise ArtifactError(
            f"{path}: weights, not a runnable model; export it first: "
            f"python export_onnx.py {path.with_suffix('.safetensors')} --out {path.with_suffix('.onnx')}"
        )
    manifest = read_manifest(path)
    opener = _opener(path, manifest)
    _check_gate(path, manifest, allow_ungated)
    spec, dim = _contract(path, manifest)
    run = opener(path, spec, dim, device, threads, manifest)
    return Artifact(path, manifest, spec, dim, manifest["sha256"], run)


def check_features(features: NDArray[Any], batch: int, dim: int) -> NDArray[np.float32]:
    """`features` when they are (batch, dim) float32 and finite; every session ends with this.

    ArtifactError for another shape or type, NonFiniteFeatures for NaN or infinity.
    """
    if features.shape != (batch, dim) or features.dtype != np.float32:
        raise ArtifactError(
            f"the model gave {features.dtype} {features.shape}, not float32 ({batch}, {dim}); export it again"
        )
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        rows = tuple(int(row) for row in np.flatnonzero(~finite))
        raise NonFiniteFeatures(
            f"the model gave NaN or infinite features in rows {list(rows[:8])} of a batch", rows
        )
    return features


def _open_onnx(
    path: Path, spec: InputSpec, dim: int, device: str, threads: int | None, manifest: dict[str, Any]
) -> Session:
    from runtime.onnxruntime_session import open_onnxruntime

    session = open_onnxruntime(path, spec, device=device, threads=threads)
    if session.dim != dim:
        raise ArtifactError(f"{path}: gives {session.dim} features, its manifest says {dim}; export it again")
    return session


def _open_engine(
    path: Path, spec: InputSpec, dim: int, device: str, threads: int | None, manifest: dict[str, Any]
) -> Session:
    if device != "cuda":
        raise ConfigError(f"{path}: an engine runs on a GPU; add --device cuda, or give the .onnx file")
    if threads is not None:
        raise ConfigError(f"{path}: --threads has no effect on an engine; leave it out")
    from runtime.tensorrt_session import open_tensorrt

    builder = manifest.get("builder")
    name = builder.get("name") if isinstance(builder, dict) else None
    # `engines build --builder rtx` is the one builder whose engines plain TensorRT cannot read
    flavour = "tensorrt_rtx" if name == "rtx" else "tensorrt"
    session = open_tensorrt(path, spec, flavour=flavour, manifest=manifest)
    if session.dim != dim:
        session.close()
        raise ArtifactError(f"{path}: gives {session.dim} features, its manifest says {dim}; build it again")
    return session


Opener = Callable[[Path, InputSpec, int, str, "int | None", dict[str, Any]], Session]
OPENERS: dict[str, Opener] = {"onnx": _open_onnx, "engine": _open_engine}


def _opener(path: Path, manifest: dict[str, Any]) -> Opener:
    kind = manifest.get("kind")
    if kind not in OPENERS:
        raise ArtifactError(
            f"{path}: a file of kind {kind!r} is no runnable model; "
            "export one with: python export_onnx.py model.safetensors --out model.onnx"
        )
    return OPENERS[kind]


def _check_gate(path: Path, manifest: dict[str, Any], allow_ungated: bool) -> None:
    gate = manifest.get("gate")
    if isinstance(gate, dict) and gate.get("passed") is True:
        return
    failed = isinstance(gate, dict) and gate.get("passed") is False
    state = "FAILED its quality gate" if failed else "never passed a quality gate"
    proof = "export it again with --check ROOT"
    if manifest.get("kind") == "engine":
        proof = f"run: python -m engines verify {path} --onnx MODEL.onnx"
    if not allow_ungated:
        raise ArtifactError(f"{path}: {state}; {proof}, or add --allow-ungated to run it anyway")
    print(f"WARNING {path}: {state}; its features are not trustworthy (--allow-ungated)", file=sys.stderr)


def _contract(path: Path, manifest: dict[str, Any]) -> tuple[InputSpec, int]:
    inputs, output = manifest.get("input"), manifest.get("output")
    dim = output.get("dim") if isinstance(output, dict) else None
    if not isinstance(inputs, dict) or not isinstance(dim, int) or dim < 1:
        raise ArtifactError(f"{path}: its manifest lacks the input or output description; export it again")
    return InputSpec.from_json(inputs, f"{path}.json"), dim
