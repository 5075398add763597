"""Open torch models as runtime sessions, which map images to features, so that the runtime can extract and evaluate with them."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from prune.config.load import Config, refuse_overrides
from prune.importing.checkpoint import import_checkpoint
from prune.model.architecture import Architecture
from prune.model.file import load_model
from prune.model.transreid import TransReID
from prune.origin import checkpoint_spec
from runtime.artifact import Artifact
from runtime.errors import ArtifactError, ConfigError, DeviceError
from runtime.files.manifest import sha256
from runtime.session import Session, check_features
from runtime.spec import InputSpec


def torch_device(name: str) -> torch.device:
    """Return the torch device `cpu` or `cuda`. Raises DeviceError for cuda when torch finds no CUDA device."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("--device cuda: torch sees no CUDA device here; use --device cpu")
    return torch.device(name)


def torch_session(model: TransReID, device: str = "cpu", *, compiled: bool = False) -> Session:
    """Return a function `run(images, camera_ids)` that returns L2-normalised features (B, dim) float32; all are numpy arrays.

    `images` are (B, 3, H, W) normalised float32. `camera_ids` (B,) are integers that select the model's camera embeddings as in
    `TransReID.forward`; None selects the mean of the embeddings of all cameras. The model itself is moved to `device`, "cpu" or
    "cuda", and put in eval mode. It computes in the dtype of its weights. With `compiled`, torch.compile compiles it at the first
    call with each batch size. Raises DeviceError when there is no such device.
    """
    target = torch_device(device)
    model = model.to(target).eval()
    dtype = next(model.parameters()).dtype
    network = torch.compile(model) if compiled else model

    def run(images: NDArray[Any], camera_ids: NDArray[Any] | None = None, /) -> NDArray[np.float32]:
        camera_rows = None if camera_ids is None else torch.from_numpy(camera_ids.astype(np.int64)).to(target)
        with torch.inference_mode():
            features = network(torch.from_numpy(images).to(target, dtype), camera_rows)
            features = F.normalize(features.float(), dim=1)
        return check_features(features.cpu().numpy(), len(images), model.architecture.dim)

    return run


def open_torch_model(path: Path | str, *, device: str = "cpu") -> tuple[Artifact, TransReID]:
    """Open a model.safetensors file and return (the runnable Artifact, its torch model).

    `device` is "cpu" or "cuda". Raises ArtifactError when the file is of another kind, or when its hash or tensors do not match its
    manifest.
    """
    if Path(path).suffix in (".pth", ".pt"):
        out = str(Path(path).with_suffix(".safetensors"))
        command = ["python", "-m", "prune.convert", str(path), "--config", "CONFIG.yaml", "--out", out]
        raise ArtifactError(f"{path}: is a published checkpoint; convert it first: {shlex.join(command)}")
    model, manifest = load_model(path)
    spec = InputSpec.from_json(manifest.get("input") or {}, f"{path}.json")
    # A manifest holds the input size and the number of cameras twice: in the input specification and in the architecture.
    specified, built = (
        (spec.height, spec.width, spec.cameras),
        (model.architecture.height, model.architecture.width, model.architecture.cameras),
    )
    if specified != built:
        raise ArtifactError(
            f"{path}.json: the input specification has (height, width, cameras) {specified}, but the architecture has "
            f"{built}; convert or prune the model again"
        )
    return artifact_of(model, spec, path, manifest, device=device), model


def open_weights(
    path: Path | str, config: Config | None, *, device: str = "cpu", overrides: Sequence[str] = ()
) -> tuple[Artifact, TransReID]:
    """Open a model.safetensors, or a published .pth with the `config` it was trained with.

    Returns (the runnable Artifact, its torch model). Without `config`, what the tensors of a .pth do not show is assumed (see
    `import_checkpoint`), or comes from `overrides`, which are those of `load_config`. A model.safetensors holds its own architecture;
    if `config` is given with it, the two must agree. Raises ConfigError when they do not, or when there are only `overrides`.
    """
    if Path(path).suffix not in (".pth", ".pt"):
        if config is None:
            refuse_overrides(path, overrides)
        artifact, model = open_torch_model(path, device=device)
        if config is not None:
            _check_config(model, artifact.spec, config, path)
        return artifact, model
    model, config = import_checkpoint(path, config, overrides=overrides)
    spec = checkpoint_spec(config, model.architecture, path)
    return artifact_of(model, spec, path, {"sha256": sha256(path)}, device=device), model


def artifact_of(
    model: TransReID, spec: InputSpec, path: Path | str, manifest: dict[str, Any], *, device: str = "cpu"
) -> Artifact:
    """Return a runnable Artifact of the torch model `model`. No file is read.

    `path` and `manifest["sha256"]` are the path and the hash of the model's file. They are stored in the Artifact and not checked.
    `spec` is the input of the model, and `device` is "cpu" or "cuda".
    """
    run = torch_session(model, device)
    return Artifact(Path(path), manifest, spec, model.architecture.dim, manifest["sha256"], run)


def _check_config(model: TransReID, spec: InputSpec, config: Config, path: Path | str) -> None:
    # pruning changes the other fields, and `identities` follows from the training set
    other = ("identities", "mode", "blocks")
    names = [field.name for field in dataclasses.fields(Architecture) if field.name not in other]
    pairs = [
        (name, getattr(model.architecture, name), getattr(config.architecture(), name)) for name in names
    ]
    pairs += [
        (name, getattr(spec, name), getattr(config.input, name)) for name in ("mean", "std", "interpolation")
    ]
    for name, actual, configured in pairs:
        # The published files of PASS say the same as those of a plain ViT.
        if name == "family" and configured == "vit" and actual.startswith("pass"):
            continue
        if actual != configured:
            raise ConfigError(
                f"{path}: the model has {name} {actual}, but the configuration has {configured}; use the configuration that the "
                "model was made with"
            )
