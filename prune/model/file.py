"""Save and load model files: tensors in safetensors, architecture and input specification in the sidecar manifest."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from prune.model.architecture import Architecture
from prune.model.flops import flops_report
from prune.model.tensors import refuse_unusable
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
    """Write `model` to `path` and its manifest beside it, atomically, and return the content of the manifest.

    `spec` is the input of the model: its `camera` must be "input" for a model with a camera table, and otherwise "none". `parent`
    is the sha256 of the file that the model was made from, or None. `notes` are further entries of the manifest. Raises GateError
    when a weight is not finite.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if non_finite := [
        key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()
    ]:
        raise GateError(
            f"{path}: not written, because {len(non_finite)} tensors hold values that are not finite, the first one "
            f"{non_finite[0]}; lower the learning rate train.lr"
        )
    costs = flops_report(model.architecture)
    content = {
        "kind": "model",
        "parent": parent,
        "shape": model.architecture.to_json(),
        "input": spec.to_json(),
        "output": {"dim": model.architecture.dim, "normalised": False},
        "macs": {key: value for key, value in costs.items() if key.startswith("macs")},
        "params": costs["params"],
        "tools": tools("torch", "timm", "safetensors"),
    }
    with ExitStack() as committing:
        with replacing(path) as temporary:
            save_file(tensors, temporary)
            committing.enter_context(deferred())
        return write_manifest(path, content | (notes or {}))


def load_model(path: Path | str) -> tuple[TransReID, dict[str, Any]]:
    """Return (the model in the file at `path`, on the CPU and in eval mode; the content of its manifest).

    Raises ArtifactError when the file or the manifest is missing or damaged, or when the two do not fit each other.
    """
    manifest = read_manifest(path)
    if manifest.get("kind") != "model":
        raise ArtifactError(
            f"{path}: is a file of kind {manifest.get('kind')!r}, not 'model'; give a model.safetensors from prune.py or prune.convert"
        )
    architecture = Architecture.from_json(manifest.get("shape", {}), f"{path}.json")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(
            f"{path}: cannot be read as safetensors ({error}); convert or prune the model again"
        ) from None
    model = TransReID(architecture)
    load_strictly(
        model,
        tensors,
        path,
        advice=f"its manifest {path}.json describes another model; convert or prune the model again",
    )
    return model.eval(), manifest


def load_strictly(
    model: TransReID, tensors: dict[str, Tensor], path: Path | str, *, advice: str = "check --config"
) -> None:
    """Copy `tensors` into the model; they must be finite and have exactly the names and shapes of the model's own.

    Tensors are converted to the model's dtypes. Raises ArtifactError, whose message begins with `path` and lists the first ten
    missing, unexpected, mis-shaped and non-finite tensors. If names or shapes differ, the message ends with `advice`.
    """
    refuse_unusable(tensors, path)
    expected = model.state_dict()
    problems = {
        "missing": [key for key in expected if key not in tensors],
        "unexpected": [key for key in tensors if key not in expected],
        "mis-shaped": [
            f"{key} {tuple(tensors[key].shape)} for {tuple(value.shape)}"
            for key, value in expected.items()
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
        same_structure = not any(problems[name] for name in ("missing", "unexpected", "mis-shaped"))
        if same_structure:
            problem = "holds values that are not finite"
            advice = "its training diverged or the file is damaged: use other weights"
        else:
            problem = f"does not fit {model.architecture.variant}"
        raise ArtifactError(f"{path}: {problem}; {'; '.join(lines)}; {advice}")
    model.load_state_dict({key: tensors[key].to(value.dtype) for key, value in expected.items()})
