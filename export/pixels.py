"""Fold the normalisation of pixels into a model's first layers."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from prune.model.stem import Stem
from prune.model.transreid import TransReID
from runtime.spec import InputSpec


def fold_pixels(convolution: nn.Conv2d, stem: Stem | None, spec: InputSpec) -> Tensor | None:
    """Change the patch convolution and the stem in place so that they take RGB pixels 0..255 instead of normalised pixels.

    For a model with a convolutional `stem`, return the mean (1, 3, 1, 1) in the scale 0..255. The caller must subtract it from the
    pixels that go into the patch convolution and into the stem: the stem pads with zeros, so it cannot absorb the mean. Without a
    stem, return None, because the patch convolution (with a bias) has no padding and absorbs the mean.
    """
    mean, std = (torch.tensor(value).double().view(1, 3, 1, 1) for value in (spec.mean, spec.std))
    weight = convolution.weight.data.double()
    if stem is None:
        assert convolution.bias is not None
        shift = (weight * mean / std).sum(dim=(1, 2, 3))
        convolution.bias.data = (convolution.bias.data.double() - shift).float()
    convolution.weight.data = (weight / (255 * std)).float()
    if stem is None:
        return None
    if stem.gain is None:
        first: Any = stem.conv_stem
        first.weight.data = (first.weight.data.double() / (255 * std)).float()
    else:
        stem.gain = (stem.gain.double() / (255 * std)).float()
    return (255 * mean).float()


def rescaled(model: TransReID, own: InputSpec, sent: InputSpec) -> TransReID:
    """Return a copy of the model that takes pixels normalised with the mean and std of `sent` instead of those of `own`.

    `own` is the input of the model as trained, and `sent` that of the exported file. The patch convolution absorbs the difference
    exactly, because it has no padding. A convolutional stem pads, so in the copy it rescales its pixels before its first
    convolution. If mean and std are the same in both, the model itself is returned.
    """
    if (own.mean, own.std) == (sent.mean, sent.std):
        return model
    changed: Any = copy.deepcopy(model)
    convolution = changed.base.patch_embed.proj
    std = torch.tensor(own.std).double()
    gain = torch.tensor(sent.std).double() / std
    shift = (torch.tensor(sent.mean).double() - torch.tensor(own.mean).double()) / std
    weight = convolution.weight.data.double()
    bias = convolution.bias.data.double() + (weight * shift.view(1, 3, 1, 1)).sum(dim=(1, 2, 3))
    convolution.weight.data = (weight * gain.view(1, 3, 1, 1)).float()
    convolution.bias.data = bias.float()
    if hasattr(changed.base, "stem"):
        changed.base.stem.gain = gain.float().view(1, 3, 1, 1)
        changed.base.stem.shift = shift.float().view(1, 3, 1, 1)
    result: TransReID = changed
    return result
