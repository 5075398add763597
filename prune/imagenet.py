"""Start from a plain ViT trained on ImageNet: timm's models and the published .pth files under our names."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from prune.convert import read_checkpoint, split_checkpoint
from prune.model import TransReID
from prune.shape import Shape
from runtime.errors import ArtifactError, ConfigError
from runtime.wording import reason_of

# Left out: the ImageNet classifier, the distillation token and its classifier.
SKIPPED = ("head", "dist", "fc_norm", "pre_logits")
# Not in an ImageNet model, freshly initialised instead.
FRESH = ("bottleneck", "classifier", "base.sie_embed")


def imagenet_state(state: dict[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """A plain ViT's tensors under our names, the position embedding resampled to `shape`'s grid.

    With the JPM both branches get their own copy of the last block and the final norm. The grid is resampled
    bilinearly without antialiasing, as the published code does; it must be square in the source.
    ArtifactError when `state` is no ViT.
    """
    last = shape.vit.depth - 1
    try:
        positions, token = state["pos_embed"], state["cls_token"]
    except KeyError as error:
        raise ArtifactError(f"no {error} among its tensors; need the state_dict of a plain ViT") from None
    if "dist_token" in state:
        positions = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)
    side = round((positions.shape[1] - 1) ** 0.5)
    if side * side + 1 != positions.shape[1]:
        raise ArtifactError(f"pos_embed has {positions.shape[1]} tokens, not 1 + a square; need a plain ViT")
    ours = {
        "base.cls_token": token,
        "base.pos_embed": resample_abs_pos_embed(
            positions, list(shape.grid), [side, side], 1, interpolation="bilinear", antialias=False
        ),
    }
    for key, value in state.items():
        if key in ("pos_embed", "cls_token") or key.startswith(SKIPPED):
            continue
        branch = {f"blocks.{last}.": "0.", "norm.": "1."}
        part = next((name for name in branch if key.startswith(name)), None) if shape.jpm else None
        if part is None:
            ours[f"base.{key}"] = value
            continue
        for name in ("b1", "b2"):
            ours[f"{name}.{branch[part]}{key.removeprefix(part)}"] = value.clone()
    return ours


def initialise(model: TransReID, state: dict[str, Tensor], source: str) -> None:
    """Fill `model` with a plain ViT's tensors; necks, classifiers and camera table stay as initialised.

    ArtifactError names `source` and the first tensors that are missing, unexpected or of another shape.
    """
    try:
        mapped = imagenet_state(state, model.shape)
    except ArtifactError as error:
        raise ArtifactError(f"{source}: {error}") from None
    wanted = {key: value for key, value in model.state_dict().items() if not key.startswith(FRESH)}
    odd = sorted(set(wanted) ^ set(mapped))
    odd += [key for key in wanted if key in mapped and wanted[key].shape != mapped[key].shape]
    if odd:
        raise ArtifactError(
            f"{source}: does not fit {model.shape.variant}, {len(odd)} tensors differ, first "
            f"{', '.join(odd[:5])}; check model.variant"
        )
    model.load_state_dict(mapped, strict=False)


def pretrained(shape: Shape) -> dict[str, Tensor]:
    """timm's ImageNet weights of the variant, downloaded or from its cache.

    ConfigError when timm has none for it, ArtifactError when they cannot be fetched.
    """
    name = shape.vit.imagenet
    if name is None:
        raise ConfigError(
            f"timm has no ImageNet weights for {shape.variant}; give a file with --init, or leave it out"
        )
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    # huggingface_hub, requests and timm each raise their own kinds; all mean that the weights are not here.
    except Exception as error:
        raise ArtifactError(
            f"{name}: cannot fetch the ImageNet weights ({reason_of(error)}); "
            "download them elsewhere and give --init FILE"
        ) from None


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pth file (restricted unpickling); ArtifactError if it is neither."""
    if Path(path).suffix != ".safetensors":
        return split_checkpoint(read_checkpoint(path), path)[0]
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path}: not readable as safetensors ({error}); check --init") from None
