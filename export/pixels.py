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
    if stem is None:
        _absorb(convolution, 1 / (255 * std), -mean / std)
        return None
    gain = 1 / (255 * std)
    _absorb(convolution, gain, torch.zeros_like(mean))
    if stem.gain is None:
        _absorb(stem.conv_stem, gain, torch.zeros_like(mean))
    else:
        stem.gain = (stem.gain * gain).float()
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
    own_std = torch.tensor(own.std).double().view(1, 3, 1, 1)
    gain = torch.tensor(sent.std).view(1, 3, 1, 1) / own_std
    shift = (torch.tensor(sent.mean).double() - torch.tensor(own.mean).double()).view(1, 3, 1, 1) / own_std
    _absorb(changed.base.patch_embed.proj, gain, shift)
    if changed.base.stem is not None:
        changed.base.stem.gain, changed.base.stem.shift = gain.float(), shift.float()
    result: TransReID = changed
    return result


def _absorb(convolution: Any, gain: Tensor, shift: Tensor) -> None:
    """Change a convolution in place so that it does for x what it did for gain * x + shift; both are (1, 3, 1, 1) float64.

    With a shift that is not zero, this is exact only for a convolution that has a bias and does not pad.
    """
    weight = convolution.weight.data.double()
    if convolution.bias is not None:
        offset = (weight * shift).sum(dim=(1, 2, 3))
        convolution.bias.data = (convolution.bias.data.double() + offset).float()
    convolution.weight.data = (weight * gain).float()
