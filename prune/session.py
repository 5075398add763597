"""A torch model behind the runtime's Session seam: the same extraction and evaluation code then runs on it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from prune.config.load import Config
from prune.importing.convert import convert
from prune.model.file import load_model
from prune.model.transreid import TransReID
from prune.origin import checkpoint_spec
from runtime.artifact import Artifact
from runtime.errors import ArtifactError, ConfigError, DeviceError
from runtime.files.manifest import sha256
from runtime.session import Session, check_features
from runtime.spec import InputSpec


def torch_device(name: str) -> torch.device:
    """`cpu` or `cuda` as a torch device; DeviceError when this machine or this torch has no CUDA device."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("--device cuda: torch sees no CUDA device here; use --device cpu")
    return torch.device(name)


def torch_session(model: TransReID, device: str = "cpu", *, compiled: bool = False) -> Session:
    """The model in eval mode as a Session: float-nchw images and camera rows -> (B, dim) float32, L2-normalised.

    It computes in the type of its weights; `compiled` by torch.compile, which works at the first call of each batch size.
    """
    target = torch_device(device)
    model = model.to(target).eval()
    kind = next(model.parameters()).dtype
    network = torch.compile(model) if compiled else model

    def run(images: NDArray[Any], camera_ids: NDArray[Any] | None = None, /) -> NDArray[np.float32]:
        rows = None if camera_ids is None else torch.from_numpy(camera_ids.astype(np.int64)).to(target)
        with torch.inference_mode():
            features = F.normalize(network(torch.from_numpy(images).to(target, kind), rows).float(), dim=1)
        return check_features(features.cpu().numpy(), len(images), model.architecture.dim)

    return run


def open_model(path: Path | str, *, device: str = "cpu") -> tuple[Artifact, TransReID]:
    """model.safetensors as a runnable Artifact (hash and structure verified), and the torch model in it."""
    if Path(path).suffix in (".pth", ".pt"):
        out = str(Path(path).with_suffix(".safetensors"))
        words = ["python", "-m", "prune.convert", str(path), "--config", "CONFIG.yaml", "--out", out]
        raise ArtifactError(f"{path}: a published checkpoint; convert it first: {shlex.join(words)}")
    model, manifest = load_model(path)
    spec = InputSpec.from_json(manifest.get("input") or {}, f"{path}.json")
    # one manifest describes the input twice: as an image and as the grid of patches
    described, built = (
        (spec.height, spec.width, spec.cameras),
        (model.architecture.height, model.architecture.width, model.architecture.cameras),
    )
    if described != built:
        raise ArtifactError(
            f"{path}.json: its input (height, width, cameras) {described} is not its shape's {built}; convert or prune again"
        )
    return artifact_of(model, spec, path, manifest, device=device), model


def open_weights(
    path: Path | str, config: Config | None, *, device: str = "cpu"
) -> tuple[Artifact, TransReID]:
    """model.safetensors, or a published .pth read through `config`, as a runnable Artifact and its torch model.

    ConfigError when a .pth comes without a configuration, or the model is not the one the configuration describes.
    """
    if Path(path).suffix not in (".pth", ".pt"):
        artifact, model = open_model(path, device=device)
        if config is not None:
            _agree(model, artifact.spec, config, path)
        return artifact, model
    if config is None:
        raise ConfigError(
            f"{path}: a published checkpoint does not say its stride or cameras; add --config C"
        )
    model = convert(path, config.architecture(), drop_path=config.model.drop_path)
    spec = checkpoint_spec(config, model.architecture, path)
    return artifact_of(model, spec, path, {"sha256": sha256(path)}, device=device), model


def artifact_of(
    model: TransReID, spec: InputSpec, path: Path | str, manifest: dict[str, Any], *, device: str = "cpu"
) -> Artifact:
    """A torch model that is in memory as a runnable Artifact; `manifest` needs its sha256."""
    run = torch_session(model, device)
    return Artifact(Path(path), manifest, spec, model.architecture.dim, manifest["sha256"], run)


def _agree(model: TransReID, spec: InputSpec, config: Config, path: Path | str) -> None:
    names = ("variant", "height", "width", "stride", "jpm", "rearrange", "cameras", "sie_coefficient", "neck")
    pairs = [
        (name, getattr(model.architecture, name), getattr(config.architecture(), name)) for name in names
    ]
    pairs += [
        (name, getattr(spec, name), getattr(config.input, name)) for name in ("mean", "std", "interpolation")
    ]
    for name, found, wanted in pairs:
        if found != wanted:
            raise ConfigError(
                f"{path}: its {name} is {found}, the configuration says {wanted}; use the configuration that the model "
                "was made with"
            )
