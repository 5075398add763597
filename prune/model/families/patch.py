"""The patch embedding of a plain ViT."""

from __future__ import annotations

from torch import Tensor, nn

from prune.model.architecture import PATCH, Architecture


class PatchEmbed(nn.Module):
    """One convolution over patches of 16 x 16 pixels, which overlap if the stride is smaller; tokens in row-major order."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, architecture.vit.width, PATCH, architecture.stride)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) float as patch tokens (B, P, D)."""
        return self.proj(images).flatten(2).transpose(1, 2)
