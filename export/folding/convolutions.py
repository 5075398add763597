"""Fold the batch norms of a convolutional stem into its convolutions."""

from __future__ import annotations

from torch import Tensor, cat, nn, zeros

from prune.model.families.ics import InstanceBatchNorm


class InstanceHalf(nn.Module):
    """An instance norm of the first channels; the others pass unchanged, because their batch norm is in the convolution before.

    An instance norm cannot be folded: its statistics are those of each image.
    """

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.norm, self.split = norm, norm.num_features

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise the first half of the channels of maps (B, C, h, w)."""
        return cat([self.norm(maps[:, : self.split]), maps[:, self.split :]], dim=1)


def fold_batch_norms(stem: nn.Module) -> None:
    """Fold every batch norm of `stem` into the convolution before it, in place. The activation after a batch norm stays.

    The convolutions must have no bias and stand directly before their norms, in the order of the modules. In an `InstanceBatchNorm`
    only the batch norm is folded, into the convolution's last channels.
    """
    convolution: nn.Conv2d | None = None
    places = {child: (parent, name) for parent in stem.modules() for name, child in parent.named_children()}
    for module in list(stem.modules()):
        if isinstance(module, nn.Conv2d):
            convolution = module
        elif isinstance(module, nn.BatchNorm2d):
            assert convolution is not None
            _fold(convolution, module)
            parent, name = places[module]
            if isinstance(parent, InstanceBatchNorm):
                grandparent, name = places[parent]
                setattr(grandparent, name, InstanceHalf(parent.IN))
            else:
                setattr(parent, name, getattr(module, "act", nn.Identity()))


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Multiply and shift the last channels of a convolution without bias, as many as the batch norm has, as the batch norm does."""
    assert convolution.bias is None and norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    first = convolution.out_channels - norm.num_features
    shift = norm.bias.double() - norm.running_mean.double() * scale
    weight = convolution.weight.data.double()
    weight[first:] *= scale.view(-1, 1, 1, 1)
    convolution.weight.data = weight.float()
    convolution.bias = nn.Parameter(cat([zeros(first), shift.detach().float()]))
