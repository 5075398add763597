"""What PASS has beside a plain ViT: three part tokens behind the class token, whose mean is a second feature."""

from __future__ import annotations

from torch import Tensor, nn

from prune.model.architecture import Architecture
from prune.model.families.outputs import combined
from prune.model.families.table import Part, parts_of


class LeadingTokens(nn.Module):
    """The four leading tokens are the features, and each has a neck of its own."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.leading = architecture.leading

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the features, each (B, D), of the tokens (B, N, D) after the last norm."""
        return list(tokens[:, : self.leading].unbind(dim=1))


class FusedTokens(nn.Module):
    """The four leading tokens become a single feature, the descriptor, which has the only neck."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.leading = architecture.leading
        self.parts = token_parts(architecture)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the feature (B, dim) of the tokens (B, N, D) after the last norm."""
        return [combined(tokens[:, : self.leading].unbind(dim=1), self.parts)]


def token_parts(architecture: Architecture) -> tuple[Part, ...]:
    """Return a part for each leading token of PASS, also for a model with a single neck; the weights of a slot add up to 1."""
    return parts_of(architecture.output.removesuffix("_one_neck"), architecture.vit.width)
