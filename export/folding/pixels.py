"""Fold the normalisation of pixels into a model's first layers."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from prune.model.stem import Stem
from prune.model.transreid import TransReID
from runtime.spec import InputSpec


class Rescale(nn.Module):
    """Pixels times `gain` plus `shift`, both (1, 3, 1, 1); it stands before a convolution that pads, which cannot absorb it."""

    gain: Tensor
    shift: Tensor

    def __init__(self, gain: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("gain", gain.float())
        self.register_buffer("shift", shift.float())

    def forward(self, images: Tensor) -> Tensor:
        """Rescale images (B, 3, H, W)."""
        return images * self.gain + self.shift


def fold_pixels(embedding: nn.Module, stem: Stem | None, spec: InputSpec) -> Tensor | None:
    """Change the patch embedding and the stem in place so that they take RGB pixels 0..255 instead of normalised pixels.

    If the first convolution of the `embedding` pads, or the model has a convolutional `stem`, return the mean (1, 3, 1, 1) in the
    scale 0..255. The caller must subtract it from the pixels that go into both: they pad with zeros, so they cannot absorb the mean.
    Otherwise return None: the patch convolution has a bias and no padding, and absorbs the mean.
    """
    mean, std = (torch.tensor(value).double().view(1, 3, 1, 1) for value in (spec.mean, spec.std))
    first, gain, nothing = first_layer(embedding), 1 / (255 * std), torch.zeros_like(mean)
    if stem is None and not pads(first):
        _absorb(first, gain, -mean / std)
        return None
    if isinstance(first, Rescale):
        first.gain = (first.gain * gain).float()
    else:
        _absorb(first, gain, nothing)
    if stem is not None and stem.gain is not None:
        stem.gain = (stem.gain * gain).float()
    elif stem is not None:
        _absorb(stem.conv_stem, gain, nothing)
    return (255 * mean).float()


def rescaled(model: TransReID, own: InputSpec, sent: InputSpec) -> TransReID:
    """Return a copy of the model that takes pixels normalised with the mean and std of `sent` instead of those of `own`.

    `own` is the input of the model as trained, and `sent` that of the exported file. A patch convolution without padding absorbs the
    difference exactly. A convolutional stem pads, so in the copy it rescales its pixels before its first convolution. If mean and
    std are the same in both, the model itself is returned.
    """
    if (own.mean, own.std) == (sent.mean, sent.std):
        return model
    changed: Any = copy.deepcopy(model)
    own_std = torch.tensor(own.std).double().view(1, 3, 1, 1)
    gain = torch.tensor(sent.std).view(1, 3, 1, 1) / own_std
    shift = (torch.tensor(sent.mean).double() - torch.tensor(own.mean).double()).view(1, 3, 1, 1) / own_std
    if pads(first_layer(changed.base.patch_embed)):
        changed.base.patch_embed.conv.insert(0, Rescale(gain, shift))
    else:
        _absorb(first_layer(changed.base.patch_embed), gain, shift)
    if changed.base.stem is not None:
        changed.base.stem.gain, changed.base.stem.shift = gain.float(), shift.float()
    result: TransReID = changed
    return result


def first_layer(embedding: nn.Module) -> Any:
    """Return the first convolution of a patch embedding, or the `Rescale` before it."""
    return next(module for module in embedding.modules() if isinstance(module, nn.Conv2d | Rescale))


def pads(layer: nn.Module) -> bool:
    """Whether the mean of the pixels cannot be folded into a `first_layer`, because it or the convolution after it pads."""
    return isinstance(layer, Rescale) or (isinstance(layer, nn.Conv2d) and layer.padding != (0, 0))


def _absorb(convolution: Any, gain: Tensor, shift: Tensor) -> None:
    """Change a convolution in place so that it does for x what it did for gain * x + shift; both are (1, 3, 1, 1) float64.

    With a shift that is not zero, this is exact only for a convolution that has a bias and does not pad.
    """
    weight = convolution.weight.data.double()
    if convolution.bias is not None:
        offset = (weight * shift).sum(dim=(1, 2, 3))
        convolution.bias.data = (convolution.bias.data.double() + offset).float()
    convolution.weight.data = (weight * gain).float()
