"""Initialise a model from a plain ViT that was trained on ImageNet or on people: timm's models and published .pth files."""

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
from prune.importing.unwrap import unprefixed, with_batch_counters
from prune.model.architecture import PATCH, Architecture
from prune.model.transreid import TransReID
from prune.model.variants import VARIANTS
from runtime.errors import ArtifactError, ConfigError
from runtime.wording import reason_of

# Ignored: classifiers, the distillation token, and what self-supervised training needs beside the ViT.
IGNORED = ("head", "dist", "fc", "pre_logits", "mask_token", "decoder", "projector", "predictor")
# Not in an ImageNet model: these keep their random initial values.
NEW = ("bottleneck", "classifier", "base.sie_embed", "base.stem.")


def imagenet_state(state: dict[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Return the tensors of a plain ViT (`state`) under TransReID's names.

    The position embedding is resampled to the grid of `architecture`. With the JPM, each of its two branches gets a copy of the
    last block and the final norm. Raises ArtifactError when `state` is not a ViT.
    """
    last = architecture.vit.depth - 1
    try:
        positions, token = state["pos_embed"], state["cls_token"]
    except KeyError as error:
        raise ArtifactError(f"has no tensor {error}; give the state_dict of a plain ViT") from None
    if "dist_token" in state:
        positions = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)
    renamed = {
        "base.cls_token": token,
        "base.pos_embed": resampled(
            positions, source_grid(positions.shape[1] - 1, architecture), architecture.grid
        ),
    }
    for key, value in state.items():
        if key in ("pos_embed", "cls_token") or key.startswith(IGNORED):
            continue
        branch = {f"blocks.{last}.": "0.", "norm.": "1."}
        part = next((name for name in branch if key.startswith(name)), None) if architecture.jpm else None
        if part is None:
            renamed[f"base.{key}"] = value
            continue
        for name in ("b1", "b2"):
            renamed[f"{name}.{branch[part]}{key.removeprefix(part)}"] = value.clone()
    return renamed


def source_grid(patches: int, architecture: Architecture) -> tuple[int, int]:
    """Return the grid (rows, columns) that a ViT with `patches` patches was probably trained on.

    It is the first of these grids that has this number of patches: the grid of `architecture`, a square, the grid of `architecture`
    at stride 16, and a grid with twice as many rows as columns. Raises ArtifactError when none of them has.
    """
    side, half = math.isqrt(patches), math.isqrt(patches // 2)
    at_16 = (architecture.height // PATCH, architecture.width // PATCH)
    for grid in (architecture.grid, (side, side), at_16, (2 * half, half)):
        if grid[0] * grid[1] == patches:
            return grid
    raise ArtifactError(
        f"pos_embed has {patches + 1} tokens, but no known grid has {patches} patches: neither the model's own "
        f"{architecture.grid[0]} x {architecture.grid[1]}, nor a square, nor one with twice as many rows as columns; "
        "set model.size and model.stride to the values that it was trained with"
    )


def resampled(positions: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Return the position embedding `positions` (1, 1 + P, D), resampled from the `source` grid (rows, columns) to the `target` grid.

    The resampling is bilinear without antialiasing, as in the published code. The position of the class token stays as it is, and
    so does the whole embedding when the grids are equal.
    """
    if source == target:
        return positions
    target_positions: Tensor = resample_abs_pos_embed(
        positions, list(target), list(source), 1, interpolation="bilinear", antialias=False
    )
    return target_positions


def initialise(model: TransReID, state: dict[str, Tensor], source: str) -> list[str]:
    """Copy the tensors of a plain ViT (`state`) into `model`, and return a line of text for everything that was resampled or ignored.

    The necks, the classifiers and the camera table keep their initial values. `source` is the origin of the tensors, for messages.
    Raises ArtifactError that names the first tensors that are missing, unexpected or of another shape.
    """
    try:
        mapped = imagenet_state(state, model.architecture)
    except ArtifactError as error:
        raise ArtifactError(f"{source}: {error}") from None
    expected = {key: value for key, value in model.state_dict().items() if not key.startswith(NEW)}
    mapped = with_batch_counters(mapped, expected)
    differing = sorted(set(expected) ^ set(mapped))
    differing += [key for key in expected if key in mapped and expected[key].shape != mapped[key].shape]
    if differing:
        raise ArtifactError(
            f"{source}: does not fit {model.architecture.variant}: {len(differing)} tensors are missing, unexpected or of "
            f"another shape, the first {', '.join(differing[:5])}; {_advice(state, model.architecture)}"
        )
    model.load_state_dict(mapped, strict=False)
    return [f"{source}: {text}" for text in _remarks(state, model.architecture)]


def _remarks(state: dict[str, Tensor], architecture: Architecture) -> list[str]:
    remarks = []
    patches = state["pos_embed"].shape[1] - (2 if "dist_token" in state else 1)
    rows, columns = source_grid(patches, architecture)
    if (rows, columns) != architecture.grid:
        remarks.append(
            f"the position embedding was read as {rows} x {columns} patches and resampled to "
            f"{architecture.grid[0]} x {architecture.grid[1]}"
        )
    elif rows != columns and math.isqrt(patches) ** 2 == patches:
        remarks.append(
            f"the position embedding was read as {rows} x {columns} patches, the model's own grid, though {patches} is also a square"
        )
    if ignored := [key for key in state if key.startswith(IGNORED)]:
        more = f" and {len(ignored) - 3} more" if len(ignored) > 3 else ""
        remarks.append(
            f"these tensors are ignored, because the model has none like them: {', '.join(ignored[:3])}{more}"
        )
    return remarks


def _advice(state: dict[str, Tensor], architecture: Architecture) -> str:
    """Say which setting makes these tensors fit, or that no variant has them."""
    stem = any(key.startswith("patch_embed.conv.") for key in state)
    if stem != (architecture.family == "ics"):
        return f"add --set model.family={'ics' if stem else 'vit'}"
    blocks = {key.split(".")[1] for key in state if key.startswith("blocks.")}
    hidden = state.get("blocks.0.mlp.fc1.bias", torch.empty(0)).shape[0]
    sizes = (state["cls_token"].shape[-1], len(blocks), hidden, "blocks.0.attn.qkv.bias" in state)
    for name, vit in VARIANTS.items():
        if sizes == (vit.width, vit.depth, vit.hidden, vit.qkv_bias) and name != architecture.variant:
            own = VARIANTS[architecture.variant]
            if sizes != (own.width, own.depth, own.hidden, own.qkv_bias):
                return f"add --set model.variant={name}"
    return "it is another kind of network; give the weights of a plain ViT with 16 x 16 patches"


def pretrained(architecture: Architecture) -> dict[str, Tensor]:
    """Return timm's ImageNet weights for the variant of `architecture`, under timm's names, downloaded or from timm's cache.

    Raises ConfigError when timm has no weights for the variant, and ArtifactError when they cannot be fetched.
    """
    name = architecture.vit.imagenet
    if name is None:
        raise ConfigError(
            f"--init imagenet: timm has no ImageNet weights for {architecture.variant}; give --init FILE, or no --init"
        )
    return fetched(name)


def fetched(name: str) -> dict[str, Tensor]:
    """Return the weights of timm's pretrained network `name`, downloaded or from timm's cache.

    Raises ArtifactError when they cannot be fetched.
    """
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    # huggingface_hub, requests and timm each raise errors of their own; all of them mean that the weights are not here
    except Exception as error:
        raise ArtifactError(
            f"{name}: cannot fetch the ImageNet weights ({reason_of(error)}); "
            "download them elsewhere and give --init FILE"
        ) from None


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Return the tensors of the .safetensors or .pth file at `path` under the names of a plain ViT.

    Raises ArtifactError when the file is damaged or of another kind. A .pth file is read with the restricted unpickler. Wrapping
    dictionaries and prefixes are removed (see `prune.importing.unwrap`), and so is the `base.` before the ViT's names in a
    re-identification model.
    """
    if Path(path).suffix != ".safetensors":
        state = split_checkpoint(read_checkpoint(path), path)[0]
    else:
        try:
            state = unprefixed(load_file(path), str(path))
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"{path}: cannot be read as safetensors ({error}); check --init") from None
    return {key.removeprefix("base."): value for key, value in state.items()}
