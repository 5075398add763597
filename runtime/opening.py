"""Open a model file as an `Artifact`: verify the file first, then load it with the requested backend."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.backends.choice import chosen_backend
from runtime.errors import ArtifactError, ConfigError
from runtime.files.manifest import read_manifest
from runtime.options.backends import ONNX_BACKENDS
from runtime.options.choices import AUTO, BACKENDS
from runtime.session import Session
from runtime.spec import InputSpec
from runtime.wording import printable


@dataclass(frozen=True)
class Target:
    """Where and how to run a model file.

    `device` is "cpu" or "cuda". `threads` None means all cores. `backend` names the library that runs the file, as
    `Artifact.backend` does.
    """

    device: str
    threads: int | None
    backend: str


class SizedSession(Session, Protocol):
    """A Session that knows the width of its features."""

    @property
    def dim(self) -> int:
        """D, the number of values in a feature."""
        ...


def open_artifact(
    path: Path | str,
    *,
    device: str = "cpu",
    threads: int | None = None,
    allow_ungated: bool = False,
    backend: str = BACKENDS[0],
) -> Artifact:
    """Verify the model file at `path` and open it on `device`, "cpu" or "cuda".

    `threads` None uses all cores. `backend` selects the library that runs an ONNX file on the CPU: one of BACKENDS, or "auto" for the
    one that `python -m runtime choose` measured as fastest here.

    The file's hash and the recorded verdict of its quality gate are checked before anything is loaded. If this CPU is of another
    kind than that of the exporting machine, the gate runs once here (`runtime.checks.this_machine`).

    Raises ArtifactError for a file that is damaged, of an unknown kind, or has not passed its gate, DeviceError for a missing device
    or backend, GateError if the gate fails on this machine, and ConfigError for options that do not fit the file. With
    `allow_ungated`, a gate that was not passed is only a warning on stderr.
    """
    artifact = load_artifact(
        path, device=device, threads=threads, allow_ungated=allow_ungated, backend=backend
    )
    if _runs_on_a_cpu(artifact, device):
        # imported here, because only a file on a CPU needs it
        from runtime.checks.this_machine import prove

        prove(artifact, allow_failed=allow_ungated)
    return artifact


def load_artifact(
    path: Path | str,
    *,
    device: str = "cpu",
    threads: int | None = None,
    allow_ungated: bool = False,
    backend: str = BACKENDS[0],
) -> Artifact:
    """Verify and open an artifact like `open_artifact`, but never run the gate on this processor.

    Use it in a caller that runs the gate itself or has already run it.
    """
    artifact, target = _verified(Path(path), device, threads, allow_ungated, backend)
    run = _opener(artifact.path, artifact.manifest)(
        artifact.path, artifact.spec, artifact.dim, target, artifact.manifest
    )
    return replace(artifact, run=run)


def verify_artifact(
    path: Path | str, *, device: str = "cpu", allow_ungated: bool = False, backend: str = BACKENDS[0]
) -> Artifact:
    """Verify an artifact like `open_artifact`, and return it without a loaded model; calling its `run` raises RuntimeError.

    Use it in a process whose worker processes load the model themselves.
    """
    artifact = _verified(Path(path), device, None, allow_ungated, backend)[0]
    if _runs_on_a_cpu(artifact, device):
        from runtime.checks.this_machine import needs_proof, prove

        if needs_proof(artifact):
            target = Target(device, None, artifact.backend or BACKENDS[0])
            run = _open_onnx(artifact.path, artifact.spec, artifact.dim, target, artifact.manifest)
            prove(replace(artifact, run=run), allow_failed=allow_ungated)
    return artifact


def _runs_on_a_cpu(artifact: Artifact, device: str) -> bool:
    return device == "cpu" and artifact.manifest.get("kind") == "onnx"


def _verified(
    path: Path, device: str, threads: int | None, allow_ungated: bool, backend: str
) -> tuple[Artifact, Target]:
    if path.suffix in (".safetensors", ".pth", ".pt"):
        model = path.with_suffix(".safetensors")
        export = shlex.join(["python", "export_onnx.py", str(model), "--out", str(path.with_suffix(".onnx"))])
        if path != model:
            words = [
                "python",
                "-m",
                "prune.convert",
                str(path),
                "--config",
                "CONFIG.yaml",
                "--out",
                str(model),
            ]
            export = f"{shlex.join(words)}, then: {export}"
        raise ArtifactError(f"{path}: weights, not a runnable model; export it first: {export}")
    manifest = read_manifest(path)
    # A file that is no model is refused here. It has no gate either, but an error about a missing gate would mislead the user.
    _opener(path, manifest)
    _check_gate(path, manifest, allow_ungated)
    spec, dim = _contract(path, manifest)
    target = Target(device, threads, _backend(path, manifest, device, backend))
    return Artifact(path, manifest, spec, dim, manifest["sha256"], _not_loaded, target.backend), target


def _not_loaded(images: NDArray[Any], camera_ids: NDArray[Any] | None = None, /) -> NDArray[np.float32]:
    raise RuntimeError("this artifact was only verified, not loaded; open it with open_artifact to run it")


def _backend(path: Path, manifest: dict[str, Any], device: str, backend: str) -> str:
    """Return the name of what will run the file: `backend` itself, what AUTO stands for, or the TensorRT that built the engine."""
    if manifest.get("kind") == "engine":
        if backend != BACKENDS[0]:
            raise ConfigError(
                f"{path}: backend={backend!r} is for .onnx files on a CPU; remove the argument backend (--backend)"
            )
        builder = manifest.get("builder")
        name = builder.get("name") if isinstance(builder, dict) else None
        # `engines build --builder rtx` is the one builder whose engines plain TensorRT cannot read
        return "tensorrt_rtx" if name == "rtx" else "tensorrt"
    if backend not in (*BACKENDS, AUTO):
        raise ConfigError(f"backend={backend!r}: give one of {', '.join(BACKENDS)}, or {AUTO}")
    if device != "cpu" and backend != BACKENDS[0]:
        raise ConfigError(
            f"backend={backend!r}: runs on a CPU only; give device='cpu' (--device), or remove the argument backend (--backend)"
        )
    if backend != AUTO:
        return backend
    chosen = chosen_backend(path, manifest["sha256"])
    if chosen not in BACKENDS:
        raise ArtifactError(
            f"{path}: the backend recorded as the fastest, {chosen!r}, is unknown to this version; run: "
            f"{shlex.join(['python', '-m', 'runtime', 'choose', str(path)])}"
        )
    print(printable(f"{path}: backend={AUTO!r} is {chosen}"), file=sys.stderr)
    return chosen


def _open_onnx(path: Path, spec: InputSpec, dim: int, target: Target, manifest: dict[str, Any]) -> Session:
    session = BACKEND_OPENERS[target.backend](path, spec, target)
    if session.dim != dim:
        raise ArtifactError(
            f"{path}: its features have {session.dim} values, but its manifest says {dim}; export it again"
        )
    return session


# Each opener imports the module of its backend. That module raises a DeviceError if its library cannot be used.
def _onnxruntime(path: Path, spec: InputSpec, target: Target) -> SizedSession:
    from runtime.backends.onnxruntime import open_onnxruntime

    return open_onnxruntime(path, spec, device=target.device, threads=target.threads)


def _openvino(path: Path, spec: InputSpec, target: Target) -> SizedSession:
    from runtime.backends.openvino import open_openvino

    precision = ONNX_BACKENDS[target.backend].arithmetic
    return open_openvino(path, spec, threads=target.threads, precision=precision)


# For each name in `BACKENDS`, the function that opens an ONNX file with this backend.
BACKEND_OPENERS: dict[str, Callable[[Path, InputSpec, Target], SizedSession]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "openvino-bf16": _openvino,
}


def _open_engine(path: Path, spec: InputSpec, dim: int, target: Target, manifest: dict[str, Any]) -> Session:
    if target.device != "cuda":
        raise ConfigError(
            f"{path}: an engine runs on a GPU; run it with device='cuda' (--device cuda), or give the .onnx file"
        )
    if target.threads is not None:
        raise ConfigError(
            f"{path}: threads={target.threads} has no effect on an engine; remove the argument threads (--threads)"
        )
    from runtime.backends.tensorrt.session import open_tensorrt

    session = open_tensorrt(path, spec, flavour=target.backend, manifest=manifest)
    if session.dim != dim:
        session.close()
        raise ArtifactError(
            f"{path}: its features have {session.dim} values, but its manifest says {dim}; build it again"
        )
    return session


Opener = Callable[[Path, InputSpec, int, Target, dict[str, Any]], Session]
# For each kind of model file, as its manifest states it, the function that opens the file.
OPENERS: dict[str, Opener] = {"onnx": _open_onnx, "engine": _open_engine}


def _opener(path: Path, manifest: dict[str, Any]) -> Opener:
    kind = manifest.get("kind")
    if not isinstance(kind, str) or kind not in OPENERS:
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
    proof = "export it again with export_onnx.py --check ROOT"
    if manifest.get("kind") == "engine":
        builder = manifest.get("builder")
        name = builder.get("onnx") if isinstance(builder, dict) else None
        onnx = path.parent / name if isinstance(name, str) else "MODEL.onnx"
        words = ["python", "-m", "engines", "verify", str(path), "--onnx", str(onnx)]
        proof = f"run: {shlex.join(words)}"
    if not allow_ungated:
        raise ArtifactError(
            f"{path}: {state}; {proof}; allow_ungated=True runs it anyway (--allow-ungated of extract, evaluate, search and bench.py)"
        )
    warning = f"WARNING {path}: {state}; its features are not trustworthy (allow_ungated=True)"
    print(printable(warning), file=sys.stderr)


def _contract(path: Path, manifest: dict[str, Any]) -> tuple[InputSpec, int]:
    inputs, output = manifest.get("input"), manifest.get("output")
    dim = output.get("dim") if isinstance(output, dict) else None
    if not isinstance(inputs, dict) or not isinstance(dim, int) or dim < 1:
        raise ArtifactError(
            f"{path}: its manifest lacks the input or output description; export the model again"
        )
    return InputSpec.from_json(inputs, f"{path}.json"), dim
