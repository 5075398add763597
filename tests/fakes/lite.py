"""Small models, for tests that do not depend on the size of a model."""

import dataclasses

import numpy as np
import torch

from prune.model.architecture import Architecture, unpruned
from prune.model.surgery import keep_heads, keep_neurons, keep_tokens, remove_blocks
from prune.model.transreid import TransReID
from runtime.spec import InputSpec

# There are 7 x 3 = 21 patches. The number is odd, so that the JPM, which divides the tokens into groups, must repeat one.
SPEC = InputSpec(height=64, width=32, layout="float-nchw", camera="input", cameras=3, dataset="anny")


def architecture(variant="vit_lite", **changes) -> Architecture:
    defaults = dict(height=64, width=32, stride=8, cameras=3, identities=5)
    return unpruned(variant, **(defaults | changes))


def model(seed=0, gain=3.0, **changes) -> TransReID:
    """Return a random model whose attention and features are far from uniform."""
    torch.manual_seed(seed)
    network = TransReID(architecture(**changes)).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(("base.stem.tokens", "base.stem.skip")):
                parameter.normal_(std=0.1)
            elif parameter.dim() > 1 and not name.startswith("base.stem"):
                parameter.mul_(gain)
            if "bottleneck" in name or "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 2)
    return network


def pruned(seed=0, mode="bypass", **changes) -> TransReID:
    """Return a random model from which random heads and tokens are removed, others in each block."""
    network, random = model(seed, **changes), np.random.default_rng(seed)
    cut = network.architecture.prunable
    heads = [sorted(random.choice(6, random.integers(1, 7), replace=False).tolist()) for _ in range(cut)]
    tokens = [
        random.choice(
            np.arange(1, network.architecture.tokens),
            random.integers(3, network.architecture.patches),
            replace=False,
        )
        for _ in range(cut)
    ]
    return keep_tokens(keep_heads(network, heads), [ids.tolist() for ids in tokens], mode=mode)


def thinned(seed=0, **changes) -> TransReID:
    """Return a pruned random model without its third and sixth block, and with fewer MLP neurons in some other blocks."""
    network, random = remove_blocks(pruned(seed, **changes), [2, 5]), np.random.default_rng(seed)
    keep = [
        sorted(random.choice(768, count, replace=False).tolist()) for count in (768, 1, 9, 333, 768, 9, 500)
    ]
    return keep_neurons(network, keep)


def shallow(network: TransReID, blocks=2) -> TransReID:
    """Return `network` with only its first `blocks` prunable blocks, because each block makes an export seconds longer."""
    return remove_blocks(network, range(blocks, network.architecture.prunable))


def batch(count=4, seed=0):
    """Return (images, labels, camera ids) of `count` random images in the size of the small model."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 64, 32, generator=random)
    return images, torch.arange(count) % 5, torch.arange(count) % 5


def with_architecture(network: TransReID, **changes) -> TransReID:
    """Return a model with the weights of `network` and a changed architecture."""
    new = TransReID(dataclasses.replace(network.architecture, **changes)).eval()
    new.load_state_dict(network.state_dict())
    return new
