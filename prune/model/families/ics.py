"""The ICS convolutional stem of TransReID-SSL (`STEM_CONV: True`): three convolutions before the patch projection.

Half of the channels of the first two convolutions pass an instance norm, which uses the statistics of each image also in
evaluation; the other half pass a batch norm. The names are those of the published checkpoints.
"""

from __future__ import annotations

from torch import Tensor, cat, nn

from prune.model.architecture import Architecture

CHANNELS = 64
# Pixels per position of the stem's map, vertically and horizontally; a patch of 16 x 16 pixels has 8 x 8 positions.
STEP = 2
PATCH_POSITIONS = 8


class InstanceBatchNorm(nn.Module):
    """An instance norm of the first half of the channels, and a batch norm of the second half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = channels // 2
        self.IN = nn.InstanceNorm2d(self.split, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.split)

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise maps (B, C, h, w)."""
        return cat([self.IN(maps[:, : self.split]), self.BN(maps[:, self.split :])], dim=1)


class IcsEmbed(nn.Module):
    """The stem `conv` and the patch projection `proj`; patches do not overlap, and the tokens are in row-major order."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 7, STEP, padding=3, bias=False),
            InstanceBatchNorm(CHANNELS),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
            InstanceBatchNorm(CHANNELS),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(),
        )
        self.proj = nn.Conv2d(CHANNELS, architecture.vit.width, PATCH_POSITIONS, PATCH_POSITIONS)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) float as patch tokens (B, P, D)."""
        return self.proj(self.conv(images)).flatten(2).transpose(1, 2)


def ics_macs(architecture: Architecture) -> int:
    """Return the multiply-adds of the stem and the patch projection for one image."""
    rows, columns = ((size - 1) // STEP + 1 for size in (architecture.height, architecture.width))
    stem = rows * columns * CHANNELS * (3 * 7 * 7 + 2 * CHANNELS * 3 * 3)
    return stem + architecture.patches * CHANNELS * PATCH_POSITIONS**2 * architecture.vit.width
