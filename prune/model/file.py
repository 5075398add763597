"""Our model files: tensors in safetensors, structure and input in the sidecar manifest. Loads strictly."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from prune.model.architecture import Architecture
from prune.model.flops import report
from prune.model.tensors import refuse_odd
from prune.model.transreid import TransReID
from runtime.errors import ArtifactError, GateError
from runtime.files.manifest import read_manifest, replacing, tools, write_manifest
from runtime.spec import InputSpec
from runtime.stopping import deferred


def save_model(
    model: TransReID,
    path: Path | str,
    spec: InputSpec,
    *,
    parent: str | None = None,
    notes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `model` to `path` and its manifest beside it, atomically; returns the manifest.

    `spec.camera` is "input" for a model with a camera table, else "none". GateError when a weight is not finite.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if bad := [
        key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()
    ]:
        raise GateError(
            f"{path}: not written, {len(bad)} tensors are not finite, first {bad[0]}; lower the learning rate"
        )
    numbers = report(model.architecture)
    content = {
        "kind": "model",
        "parent": parent,
        "shape": model.architecture.to_json(),
        "input": spec.to_json(),
        "output": {"dim": model.architecture.dim, "normalised": False},
        "macs": {key: value for key, value in numbers.items() if key.startswith("macs")},
        "params": numbers["params"],
        "tools": tools("torch", "timm", "safetensors"),
    }
    with ExitStack() as committing:
        with replacing(path) as temporary:
            save_file(tensors, temporary)
            committing.enter_context(deferred())
        return write_manifest(path, content | (notes or {}))


def load_model(path: Path | str) -> tuple[TransReID, dict[str, Any]]:
    """The model at `path` in eval mode and its manifest; ArtifactError when either is missing, damaged or does not fit."""
    manifest = read_manifest(path)
    if manifest.get("kind") != "model":
        raise ArtifactError(
            f"{path}: a {manifest.get('kind')} file; need a model.safetensors from prune.py or prune.convert"
        )
    architecture = Architecture.from_json(manifest.get("shape", {}), f"{path}.json")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(
            f"{path}: not readable as safetensors ({error}); convert or prune again"
        ) from None
    model = TransReID(architecture)
    load_strictly(model, tensors, path, advice="its manifest is another file's; convert or prune again")
    return model.eval(), manifest


def load_strictly(
    model: TransReID, tensors: dict[str, Tensor], path: Path | str, *, advice: str = "check --config"
) -> None:
    """Fill the model; ArtifactError lists (first ten each) missing, unexpected, mis-shaped and non-finite tensors.

    `advice` is what it says where the tensors are others than the model's.
    """
    refuse_odd(tensors, path)
    wanted = model.state_dict()
    problems = {
        "missing": [key for key in wanted if key not in tensors],
        "unexpected": [key for key in tensors if key not in wanted],
        "mis-shaped": [
            f"{key} {tuple(tensors[key].shape)} for {tuple(value.shape)}"
            for key, value in wanted.items()
            if key in tensors and tensors[key].shape != value.shape
        ],
        "not finite": [
            key
            for key, value in tensors.items()
            if value.is_floating_point() and not bool(torch.isfinite(value).all())
        ],
    }
    lines = [
        f"{len(keys)} {name}: {', '.join(keys[:10])}{', ..' if len(keys) > 10 else ''}"
        for name, keys in problems.items()
        if keys
    ]
    if lines:
        fits = not any(problems[name] for name in ("missing", "unexpected", "mis-shaped"))
        said = "holds numbers that are none" if fits else f"does not fit {model.architecture.variant}"
        what = "its training diverged or it is damaged: use other weights" if fits else advice
        raise ArtifactError(f"{path}: {said}; {'; '.join(lines)}; {what}")
    model.load_state_dict({key: tensors[key].to(value.dtype) for key, value in wanted.items()})
