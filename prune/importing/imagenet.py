"""Start from a plain ViT, trained on ImageNet or on people: timm's models and published .pth files under our names."""

from __future__ import annotations

import math
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from prune.importing.convert import read_checkpoint, split_checkpoint
from prune.importing.unwrap import unprefixed
from prune.model.architecture import PATCH, Architecture
from prune.model.transreid import TransReID
from prune.model.variants import VARIANTS
from runtime.errors import ArtifactError, ConfigError
from runtime.wording import reason_of

# Left out: classifiers, the distillation token, and what self-supervised training needs beside the ViT.
SKIPPED = ("head", "dist", "fc", "pre_logits", "mask_token", "decoder", "projector", "predictor")
# Not in an ImageNet model, freshly initialised instead.
FRESH = ("bottleneck", "classifier", "base.sie_embed")


def imagenet_state(state: dict[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """A plain ViT's tensors under our names, the position embedding resampled to the grid of `architecture`.

    With the JPM both branches get their own copy of the last block and the final norm. ArtifactError when `state` is no ViT.
    """
    last = architecture.vit.depth - 1
    try:
        positions, token = state["pos_embed"], state["cls_token"]
    except KeyError as error:
        raise ArtifactError(f"no {error} among its tensors; need the state_dict of a plain ViT") from None
    if "dist_token" in state:
        positions = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)
    ours = {
        "base.cls_token": token,
        "base.pos_embed": resampled(
            positions, source_grid(positions.shape[1] - 1, architecture), architecture.grid
        ),
    }
    for key, value in state.items():
        if key in ("pos_embed", "cls_token") or key.startswith(SKIPPED):
            continue
        branch = {f"blocks.{last}.": "0.", "norm.": "1."}
        part = next((name for name in branch if key.startswith(name)), None) if architecture.jpm else None
        if part is None:
            ours[f"base.{key}"] = value
            continue
        for name in ("b1", "b2"):
            ours[f"{name}.{branch[part]}{key.removeprefix(part)}"] = value.clone()
    return ours


def source_grid(patches: int, architecture: Architecture) -> tuple[int, int]:
    """The grid (rows, columns) that a ViT with so many patches has: the first that fits of four.

    These are the grid of `architecture`, a square, the grid of `architecture` at stride 16, and one of 2 to 1.
    ArtifactError where none has it.
    """
    side, half = math.isqrt(patches), math.isqrt(patches // 2)
    at_16 = (architecture.height // PATCH, architecture.width // PATCH)
    for grid in (architecture.grid, (side, side), at_16, (2 * half, half)):
        if grid[0] * grid[1] == patches:
            return grid
    raise ArtifactError(
        f"pos_embed has {patches + 1} tokens, and no known grid has {patches} patches: neither the model's own "
        f"{architecture.grid[0]} x {architecture.grid[1]}, nor a square, nor one of 2 to 1; "
        "set model.size and model.stride as it was trained"
    )


def resampled(positions: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """(1, 1 + P, D) positions of the `source` grid on the `target` grid; the class token's stays, the same grid is left alone.

    Bilinear without antialiasing, as the published code does it.
    """
    if source == target:
        return positions
    found: Tensor = resample_abs_pos_embed(
        positions, list(target), list(source), 1, interpolation="bilinear", antialias=False
    )
    return found


def initialise(model: TransReID, state: dict[str, Tensor], source: str) -> list[str]:
    """Fill `model` with a plain ViT's tensors; necks, classifiers and camera table stay as initialised.

    Returns a line for what was resampled or left out. ArtifactError names `source` and the first tensors that are missing,
    unexpected or of another shape.
    """
    try:
        mapped = imagenet_state(state, model.architecture)
    except ArtifactError as error:
        raise ArtifactError(f"{source}: {error}") from None
    wanted = {key: value for key, value in model.state_dict().items() if not key.startswith(FRESH)}
    odd = sorted(set(wanted) ^ set(mapped))
    odd += [key for key in wanted if key in mapped and wanted[key].shape != mapped[key].shape]
    if odd:
        raise ArtifactError(
            f"{source}: does not fit {model.architecture.variant}, {len(odd)} tensors differ, first "
            f"{', '.join(odd[:5])}; {_advice(state, model.architecture)}"
        )
    model.load_state_dict(mapped, strict=False)
    return [f"{source}: {text}" for text in _remarks(state, model.architecture)]


def _remarks(state: dict[str, Tensor], architecture: Architecture) -> list[str]:
    remarks = []
    patches = state["pos_embed"].shape[1] - (2 if "dist_token" in state else 1)
    rows, columns = source_grid(patches, architecture)
    if (rows, columns) != architecture.grid:
        remarks.append(
            f"position embedding read as {rows} x {columns} patches and resampled to {architecture.grid[0]} x {architecture.grid[1]}"
        )
    elif rows != columns and math.isqrt(patches) ** 2 == patches:
        remarks.append(
            f"position embedding read as {rows} x {columns} patches, the model's own grid, though {patches} is a square too"
        )
    if left := [key for key in state if key.startswith(SKIPPED)]:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        remarks.append(f"left out, no part of the model: {', '.join(left[:3])}{more}")
    return remarks


def _advice(state: dict[str, Tensor], architecture: Architecture) -> str:
    """What to set so that these tensors fit, or that no variant has them."""
    blocks = {key.split(".")[1] for key in state if key.startswith("blocks.")}
    hidden = state.get("blocks.0.mlp.fc1.bias", torch.empty(0)).shape[0]
    sizes = (state["cls_token"].shape[-1], len(blocks), hidden, "blocks.0.attn.qkv.bias" in state)
    for name, vit in VARIANTS.items():
        if sizes == (vit.width, vit.depth, vit.hidden, vit.qkv_bias) and name != architecture.variant:
            same = VARIANTS[architecture.variant]
            if sizes != (same.width, same.depth, same.hidden, same.qkv_bias):
                return f"add --set model.variant={name}"
    return "it is another kind of network; give the weights of a plain ViT with 16 x 16 patches"


def pretrained(architecture: Architecture) -> dict[str, Tensor]:
    """timm's ImageNet weights of the variant, downloaded or from its cache.

    ConfigError when timm has none for it, ArtifactError when they cannot be fetched.
    """
    name = architecture.vit.imagenet
    if name is None:
        raise ConfigError(
            f"timm has no ImageNet weights for {architecture.variant}; give a file with --init, or leave it out"
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
    """The tensors of a .safetensors or .pth file (restricted unpickling) under a ViT's own names; ArtifactError if it is neither.

    What it is wrapped in is taken off (`prune.importing.unwrap`); a re-identification model also loses the `base.` before its
    ViT's names.
    """
    if Path(path).suffix != ".safetensors":
        state = split_checkpoint(read_checkpoint(path), path)[0]
    else:
        try:
            state = unprefixed(load_file(path), str(path))
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"{path}: not readable as safetensors ({error}); check --init") from None
    return {key.removeprefix("base."): value for key, value in state.items()}
