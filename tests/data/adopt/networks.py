"""Two small re-identification networks of the kinds that other projects train: one like OSNet, one like a ResNet.

They are written for the tests of `python -m export adopt`. Both map float images (B, 3, H, W) to features (B, 128).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DIM = 128


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, *, groups: int = 1) -> nn.Sequential:
    """Return a convolution with a batch norm after it, as `nn.Sequential`; the padding keeps the size at stride 1."""
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Light(nn.Module):
    """OSNet's light convolution: a 1x1 convolution, then a depthwise 3x3 convolution, a batch norm and a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.depthwise = convolution(width, width, 3, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of `x`."""
        features: Tensor = torch.relu(self.depthwise(self.pointwise(x)))
        return features


class Gate(nn.Module):
    """OSNet's aggregation gate: it weighs the channels of a stream by their mean over the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (B, width, H, W), each channel multiplied by a number in 0..1."""
        weights = torch.sigmoid(self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True)))))
        return x * weights


class OmniScale(nn.Module):
    """OSNet's residual block: streams of one, two and three light convolutions, summed by a gate that they share."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = outputs // 4
        self.enter = convolution(inputs, width, 1)
        self.streams = nn.ModuleList(
            [nn.Sequential(*[Light(width) for _ in range(depth)]) for depth in (1, 2, 3)]
        )
        self.gate = Gate(width)
        self.leave = convolution(width, outputs, 1)
        self.skip = nn.Identity() if inputs == outputs else convolution(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W) for `x` (B, inputs, H, W)."""
        entered = torch.relu(self.enter(x))
        mixed = torch.stack([self.gate(stream(entered)) for stream in self.streams]).sum(0)
        return torch.relu(self.leave(mixed) + self.skip(x))


class Residual(nn.Module):
    """The basic block of a ResNet: two 3x3 convolutions and a skip connection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = convolution(inputs, outputs, 3, stride), convolution(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride) for `x` (B, inputs, H, W)."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.skip(x))


def osnet_like() -> nn.Sequential:
    """Return the network like OSNet: depthwise convolutions at several scales with gates, and a fully connected layer at the end."""
    return nn.Sequential(
        convolution(3, 16, 7, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        OmniScale(16, 64),
        convolution(64, 64, 1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        OmniScale(64, 128),
        convolution(128, 128, 1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        OmniScale(128, 192),
        convolution(192, 192, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(192, DIM),
        nn.BatchNorm1d(DIM),
    )


def resnet_like() -> nn.Sequential:
    """Return the network like a ResNet: basic blocks, and the mean over the last feature map."""
    return nn.Sequential(
        nn.BatchNorm2d(3),
        convolution(3, 16, 5, 2),
        nn.ReLU(),
        Residual(16, 24, 2),
        Residual(24, 48, 2),
        Residual(48, 48, 1),
        Residual(48, 96, 2),
        Residual(96, 96, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, DIM),
    )
