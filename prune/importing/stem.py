"""Give a hybrid model's stem the weights of its ImageNet network."""

from __future__ import annotations

import timm
from torch import Tensor

from prune.model.transreid import TransReID
from runtime.errors import ArtifactError, ConfigError


def is_cnn(state: dict[str, Tensor]) -> bool:
    """Whether tensors are those of an EfficientNet, under timm's names or those of the original PyTorch port."""
    return "conv_stem.weight" in state or "_conv_stem.weight" in state


def initialise_stem(model: TransReID, state: dict[str, Tensor], source: str) -> list[str]:
    """Fill the stem of `model` with the tensors of a CNN, and return a list with one line that says which blocks are used.

    `state` has the tensors of the whole CNN, under timm's names, or under any names in the order of timm's network. The stem gets
    those of the first blocks; the others are not used. Raises ConfigError when the model has no stem. Raises ArtifactError, whose
    message names `source`, when the tensors are those of another network than the stem's.
    """
    sizes = model.architecture.vit.stem
    if sizes is None:
        raise ConfigError(
            f"--init {source}: holds a CNN, but {model.architecture.variant} has no stem; add --set model.variant=hybrid_lite"
        )
    expected = timm.create_model(sizes.cnn, pretrained=False).state_dict()
    named = state if set(state) == set(expected) else dict(zip(expected, state.values()))
    same_size = len(state) == len(expected)
    if not same_size or any(named[key].shape != value.shape for key, value in expected.items()):
        raise ArtifactError(
            f"{source}: is not {sizes.cnn}, the network of {model.architecture.variant}'s stem; give --init "
            f"timm:{sizes.imagenet} or a file with its weights"
        )
    stem = model.base.stem
    stem.load_state_dict({key: named[key] for key in stem.state_dict() if key in named}, strict=False)
    return [f"{source}: its first {sizes.blocks} blocks are the stem; the rest of the network is not used"]
