"""What CLIP-ReID's image encoder has beside a plain ViT: another activation, and a projection of the class token."""

from __future__ import annotations

from torch import Tensor, nn

from prune.model.architecture import Architecture


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the approximation of the GELU with which CLIP was trained."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of every value of `x`."""
        return x * (1.702 * x).sigmoid()


class ProjectedClassToken(nn.Module):
    """Two features: the class token, and its projection into the space that CLIP's images share with its texts."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        features = architecture.parts
        self.proj = nn.Linear(features[0].width, features[1].width, bias=False)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the two features (B, D) and (B, 512) of the tokens (B, N, D) after the last norm."""
        class_token = tokens[:, 0]
        return [class_token, self.proj(class_token)]
