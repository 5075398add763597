"""The convolutional stem of a hybrid model: the first blocks of a CNN trained on ImageNet.

Projections of its features are added to the patch tokens and to the descriptor. The models may be trained on rendered (synthetic)
people, which do not show what real cloth looks like. The CNN has learned this from photographs. Its batch norms therefore keep the
statistics of ImageNet: the statistics of rendered images would replace a part of what it has learned.
"""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune.model import variants

# Chosen on the 44 training people of PKU-Reid (data/hybrid_lite/README.md).
EDGE = 0.4


class Stem(nn.Module):
    """The torch module of the stem that a `variants.Stem` (`sizes`) describes, for images of one `size` (height, width).

    The layer `tokens` projects the features of the last block to the `width` of the ViT, for each patch of `grid` (rows, columns).
    The layer `skip` projects the mean features of horizontal stripes to `outputs` numbers, the length of the descriptor. Both start
    with zero weights, so that a new stem changes neither tokens nor descriptor. `sampling` and `pooling` are the constant matrices
    of `bilinear` and `stripe_means`. `maps` explains `gain` and `shift`.
    """

    sampling: Tensor
    pooling: Tensor
    gain: Tensor | None
    shift: Tensor | None

    def __init__(
        self, sizes: variants.Stem, size: tuple[int, int], *, grid: tuple[int, int], width: int, outputs: int
    ) -> None:
        super().__init__()
        cnn = timm.create_model(sizes.cnn, pretrained=False, num_classes=0)
        self.conv_stem, self.bn1 = cnn.conv_stem, cnn.bn1
        self.blocks = nn.Sequential(*cnn.blocks[: sizes.blocks])
        self.register_buffer("gain", None, persistent=False)
        self.register_buffer("shift", None, persistent=False)
        channels, source = map_size(self, size)
        self.tokens = nn.Linear(channels, width)
        self.skip = nn.Linear(sizes.stripes * channels, outputs)
        for layer in (self.tokens, self.skip):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        # On a CPU the convolutions are more than twice as fast in this layout.
        self.to(memory_format=torch.channels_last)
        self.register_buffer("sampling", bilinear(source, grid), persistent=False)
        self.register_buffer("pooling", stripe_means(source, sizes.stripes), persistent=False)

    def train(self, mode: bool = True) -> Stem:
        """Set the training mode of all modules but the batch norms, which keep the statistics of ImageNet."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def maps(self, images: Tensor) -> Tensor:
        """Return the features (B, C, h, w) of the last block for images (B, 3, H, W).

        `gain` and `shift` are None if the images are normalised as in training. For another mean or standard deviation,
        `export.folding` sets them to tensors (1, 3, 1, 1), and the images become `gain` * image + `shift` first. The first convolution
        cannot include this step, because the result would differ at the border, where it pads the images with zeros.
        """
        if self.gain is not None and self.shift is not None:
            images = images * self.gain + self.shift
        features: Tensor = self.blocks(self.bn1(self.conv_stem(images)))
        return features

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the stem adds for images (B, 3, H, W): to the patch tokens (B, P, D), and to the descriptor (B, outputs)."""
        features = self.maps(images).flatten(2).transpose(1, 2)
        return self.tokens(self.sampling @ features), self.skip(self.pooled(features))

    def pooled(self, features: Tensor) -> Tensor:
        """Return the stripes' mean features (B, stripes x C) of the features (B, h x w, C)."""
        return (self.pooling @ features).flatten(1)


def has_given_weights(name: str) -> bool:
    """Whether the parameter `name` of a model is in a layer of the stem that has its weights before training.

    These are the layers of the CNN, which was trained on ImageNet, and the layer `skip`, which prune.training.whitening computes.
    The result is False for the layer `tokens` of the stem, and for all parameters outside the stem.
    """
    return name.startswith("base.stem.") and not name.startswith("base.stem.tokens.")


def map_size(stem: Stem, size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """Return (C, (h, w)) of the features of the stem's last block for images of `size` (height, width)."""
    was_training = stem.training
    with torch.no_grad():
        features = stem.eval().maps(torch.zeros(1, 3, *size, device=stem.conv_stem.weight.device))
    stem.train(was_training)
    return features.shape[1], (features.shape[2], features.shape[3])


def convolution_macs(stem: Stem, size: tuple[int, int]) -> int:
    """Return the multiply-adds of the stem's convolutions for one image of `size` (height, width)."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += output[0].numel() * module.weight[0].numel()

    hooks = [
        module.register_forward_hook(count) for module in stem.modules() if isinstance(module, nn.Conv2d)
    ]
    try:
        map_size(stem, size)
    finally:
        for hook in hooks:
            hook.remove()
    return total


def bilinear(source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Return the matrix (target positions, source positions) that resizes a flattened map bilinearly; positions are row-major.

    A product with a constant matrix runs on every backend. A resizing operator does not.
    """
    basis = torch.eye(source[0] * source[1]).unflatten(1, source).unsqueeze(1)
    return F.interpolate(basis, target, mode="bilinear", align_corners=False).flatten(1).T.contiguous()


def stripe_means(source: tuple[int, int], stripes: int) -> Tensor:
    """Return the matrix (stripes, source positions) that averages a flattened map over horizontal stripes of equal height.

    The outer quarter of the columns on either side has the smaller weight EDGE (the middle: 1), because it mostly shows background.
    The weights in a row of the matrix sum to 1.
    """
    basis = torch.eye(source[0] * source[1]).unflatten(1, source).unsqueeze(1)
    weights = torch.ones(source[1])
    edge = source[1] // 4
    if edge:
        weights[:edge] = weights[-edge:] = EDGE
    weighted = basis * (weights / weights.mean())
    return F.adaptive_avg_pool2d(weighted, (stripes, 1)).flatten(1).T.contiguous()
