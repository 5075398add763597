"""What bench.py runs: an exported artifact, or a torch model in eager mode as the baseline. Times nothing."""

from __future__ import annotations

from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from typing import Any

from benchmarks.options import Candidate
from runtime import console
from runtime.artifact import Artifact
from runtime.errors import ConfigError
from runtime.gate_here import doubt
from runtime.opening import open_artifact


def open_candidate(candidate: Candidate) -> Artifact:
    """The verified, opened model. ArtifactError, ConfigError and DeviceError as the runtime names them."""
    if candidate.torch:
        return _open_torch(candidate)
    artifact = open_artifact(
        candidate.path,
        device=candidate.device,
        threads=candidate.threads,
        allow_ungated=candidate.allow_ungated,
        backend=candidate.backend,
    )
    if (remark := doubt(artifact)) is not None:
        console.note(f"WARNING {remark}")
    return artifact


def reopen_candidate(candidate: Candidate) -> Artifact:
    """A second, separate opening of the model, which does not repeat the warnings of the first."""
    with redirect_stderr(StringIO()):
        return open_candidate(candidate)


def facts(artifact: Artifact) -> dict[str, Any]:
    """What is known of a model without running it; null for what its manifest does not say."""
    manifest = artifact.manifest
    macs, gate = manifest.get("macs") or {}, manifest.get("gate")
    counts = {name: macs.get(name) for name in ("macs_paper", "macs_reference", "macs_folded")}
    about = {name: manifest.get(name) for name in ("kind", "precision", "form")}
    return {
        "path": str(artifact.path),
        "sha256": artifact.sha256,
        "parent": manifest.get("parent"),
        "engine": artifact.backend,
        **about,
        **counts,
        "params": manifest.get("params"),
        # what --allow-ungated let through stays visible in the result
        "gate_passed": gate.get("passed") if isinstance(gate, dict) else None,
        "file_bytes": artifact.path.stat().st_size,
    }


def _open_torch(candidate: Candidate) -> Artifact:
    """The plain torch form; its features come from the published network, not from an exported graph."""
    try:
        import torch

        from prune.session import open_torch_model, torch_session
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{candidate.path}: {error.name}, which weights run on, is not installed; pip install '.[workstation]', "
            "or leave it out"
        ) from None
    if candidate.threads is not None:
        torch.set_num_threads(candidate.threads)
    artifact, model = open_torch_model(candidate.path, device=candidate.device)
    known = {"kind": "torch", "precision": "fp16" if candidate.half else "fp32", "form": "reference"}
    backend = "torch.compile" if candidate.compiled else "torch"
    artifact = replace(
        artifact, manifest=artifact.manifest | known, backend=f"{backend}-fp16" if candidate.half else backend
    )
    if not (candidate.compiled or candidate.half):
        return artifact
    model = model.to(torch.float16) if candidate.half else model
    return replace(artifact, run=torch_session(model, candidate.device, compiled=candidate.compiled))
