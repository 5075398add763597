"""Open a model for bench.py: an exported model, or weights that run in torch as a baseline."""

from __future__ import annotations

from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from typing import Any

from benchmarks.options import Candidate
from runtime import console
from runtime.artifact import Artifact
from runtime.checks.this_machine import doubt
from runtime.errors import ConfigError
from runtime.opening import open_artifact


def open_candidate(candidate: Candidate) -> Artifact:
    """Verify the files of a model, and return the opened model. Print a warning if it passed no quality gate on this machine.

    Raises the errors of `runtime.opening.open_artifact`. Torch weights also raise ConfigError if torch is not installed.
    """
    if candidate.torch:
        return _open_torch(candidate)
    artifact = open_artifact(
        candidate.path,
        device=candidate.device,
        threads=candidate.threads,
        allow_ungated=candidate.allow_ungated,
        backend=candidate.backend,
    )
    if (warning := doubt(artifact)) is not None:
        console.note(f"WARNING {warning}")
    return artifact


def reopen_candidate(candidate: Candidate) -> Artifact:
    """Return another opened copy of a model. The warnings that `open_candidate` printed for the first copy are not repeated."""
    with redirect_stderr(StringIO()):
        return open_candidate(candidate)


def facts(artifact: Artifact) -> dict[str, Any]:
    """Return what the file and the manifest of a model say about it. A value that the manifest lacks is None.

    The keys are {path, sha256, parent, engine, kind, precision, form, macs_paper, macs_reference, macs_folded, params, gate_passed,
    file_bytes}. `engine` is the backend, and `parent` is the SHA-256 of the file that the model was made from. Three values count the
    multiply-adds of one image (see `prune.model.flops`). `macs_paper` counts as the paper does, which leaves out some layers.
    `macs_reference` counts those of the plain form (the network as published), and `macs_folded` those of the folded form (an
    equivalent network with a cheaper last block, which the export writes).
    """
    manifest = artifact.manifest
    macs, gate = manifest.get("macs") or {}, manifest.get("gate")
    counts = {name: macs.get(name) for name in ("macs_paper", "macs_reference", "macs_folded")}
    description = {name: manifest.get(name) for name in ("kind", "precision", "form")}
    return {
        "path": str(artifact.path),
        "sha256": artifact.sha256,
        "parent": manifest.get("parent"),
        "engine": artifact.backend,
        **description,
        **counts,
        "params": manifest.get("params"),
        # With --allow-ungated, a model runs that has not passed its quality gate, and the result must show this.
        "gate_passed": gate.get("passed") if isinstance(gate, dict) else None,
        "file_bytes": artifact.path.stat().st_size,
    }


def _open_torch(candidate: Candidate) -> Artifact:
    """Open weights in torch. They run as the published network computes them, without the transformations of an export."""
    try:
        import torch

        from prune.session import open_torch_model, torch_session
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{candidate.path}: a .safetensors file runs in torch, but {error.name} is not installed; run pip install "
            "'.[workstation]', or remove this file from the command line"
        ) from None
    if candidate.threads is not None:
        torch.set_num_threads(candidate.threads)
    artifact, model = open_torch_model(candidate.path, device=candidate.device)
    entries = {"kind": "torch", "precision": "fp16" if candidate.half else "fp32", "form": "reference"}
    backend = "torch.compile" if candidate.compiled else "torch"
    artifact = replace(
        artifact,
        manifest=artifact.manifest | entries,
        backend=f"{backend}-fp16" if candidate.half else backend,
    )
    if not (candidate.compiled or candidate.half):
        return artifact
    model = model.to(torch.float16) if candidate.half else model
    return replace(artifact, run=torch_session(model, candidate.device, compiled=candidate.compiled))
