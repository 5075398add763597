"""Give a hybrid model's stem the weights of its ImageNet network, from timm or from a file."""

from __future__ import annotations

from pathlib import Path

import timm
from torch import Tensor

from prune.importing.convert import read_checkpoint, split_checkpoint
from prune.model.transreid import TransReID
from runtime.errors import ArtifactError, ConfigError
from runtime.wording import reason_of

TIMM = "timm:"


def is_cnn(state: dict[str, Tensor]) -> bool:
    """Whether tensors are those of an EfficientNet, under timm's names or those of the original PyTorch port."""
    return next(iter(state), "").lstrip("_") == "conv_stem.weight"


def downloaded_cnn(name: str) -> dict[str, Tensor]:
    """Return the tensors of timm's pretrained network `name`. Raises ArtifactError when they cannot be fetched."""
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    # huggingface_hub, requests and timm each raise errors of their own; all of them mean that the weights are not here
    except Exception as error:
        raise ArtifactError(
            f"{TIMM}{name}: cannot fetch these weights ({reason_of(error)}); download them elsewhere and give --init FILE"
        ) from None


def cnn_file(path: str) -> dict[str, Tensor] | None:
    """Return the tensors of a .pth file that holds an EfficientNet; None when it holds something else."""
    if Path(path).suffix == ".safetensors":
        return None
    state = split_checkpoint(read_checkpoint(path), path)[0]
    return state if is_cnn(state) else None


def initialise_stem(model: TransReID, state: dict[str, Tensor], source: str) -> list[str]:
    """Fill the stem of `model` with the tensors of a CNN, and return a list with one line that says which blocks are used.

    `state` has the tensors of the whole CNN under any names, in the order of timm's network. The stem gets those of the first blocks;
    the others are not used. Raises ConfigError when the model has no stem. Raises ArtifactError, whose message names `source`, when
    the tensors are those of another network than the stem's.
    """
    sizes = model.architecture.vit.stem
    if sizes is None:
        raise ConfigError(
            f"--init {source}: holds a CNN, but {model.architecture.variant} has no stem; add --set model.variant=hybrid_lite"
        )
    stem = model.base.stem
    own = timm.create_model(sizes.cnn, pretrained=False).state_dict()
    shapes = [(value.shape, state_value.shape) for value, state_value in zip(own.values(), state.values())]
    if len(own) != len(state) or any(ours != theirs for ours, theirs in shapes):
        raise ArtifactError(
            f"{source}: is not {sizes.cnn}, the network of {model.architecture.variant}'s stem; give --init {TIMM}{sizes.imagenet} "
            "or a file with its weights"
        )
    named = dict(zip(own, state.values()))
    kept = {key: named[key] for key in stem.state_dict() if key in named}
    stem.load_state_dict(kept, strict=False)
    return [f"{source}: its first {sizes.blocks} blocks are the stem; the rest of the network is not used"]
