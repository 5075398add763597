"""Open what is to be timed: exported artifacts through the runtime, weights as the torch model in eager mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.session import Artifact, open_artifact


def open_runnable(path: Path, *, device: str, threads: int | None, allow_ungated: bool) -> Artifact:
    """An .onnx through the runtime; a model.safetensors as the plain torch model (the baseline that needs no export)."""
    if path.suffix == ".safetensors":
        return _open_torch(path, device, threads)
    return open_artifact(path, device=device, threads=threads, allow_ungated=allow_ungated)


def _open_torch(path: Path, device: str, threads: int | None) -> Artifact:
    # the only place here that needs torch, and only when a torch model is asked for
    import torch

    from prune.session import open_model

    if threads is not None:
        torch.set_num_threads(threads)
    artifact, _ = open_model(path, device=device)
    return artifact


def facts(artifact: Artifact) -> dict[str, Any]:
    """What the manifest says of a model: precision, form, the three MACs, parameters; absent facts are null."""
    manifest = artifact.manifest
    macs = manifest.get("macs") or {}
    torch_model = manifest.get("kind") == "model"
    return {
        "path": str(artifact.path),
        "sha256": artifact.sha256,
        "engine": "torch eager" if torch_model else "onnxruntime",
        "precision": "fp32" if torch_model else manifest.get("precision"),
        "form": "reference" if torch_model else manifest.get("form"),
        "macs_paper": macs.get("macs_paper"),
        "macs_reference": macs.get("macs_reference"),
        "macs_folded": macs.get("macs_folded"),
        "params": manifest.get("params"),
        "file_bytes": artifact.path.stat().st_size,
        "gate_passed": (manifest.get("gate") or {}).get("passed"),
    }
