"""The torch modules of the families: a table of embeddings and a table of outputs."""

from __future__ import annotations

from torch import nn

from prune.model.architecture import Architecture
from prune.model.families.clip import ProjectedClassToken
from prune.model.families.ics import IcsEmbed
from prune.model.families.outputs import ClassToken, PooledPatches
from prune.model.families.pass_reid import FusedTokens, LeadingTokens
from prune.model.families.patch import PatchEmbed

# `Family.embedding` -> the module that makes patch tokens (B, P, D) of images (B, 3, H, W)
EMBEDDINGS = {"patch": PatchEmbed, "ics": IcsEmbed}
# `Architecture.output` -> the module that makes a list of features of the tokens (B, N, D) after the last norm
OUTPUTS = {
    "class": ClassToken,
    "pooled": PooledPatches,
    "projected": ProjectedClassToken,
    "pass": LeadingTokens,
    "pass_mean": LeadingTokens,
    "pass_one_neck": FusedTokens,
    "pass_mean_one_neck": FusedTokens,
}


def embedding(architecture: Architecture) -> nn.Module:
    """Return a new embedding for the family of `architecture`."""
    return EMBEDDINGS[architecture.kind.embedding](architecture)


def output(architecture: Architecture) -> nn.Module:
    """Return a new output for `architecture`, which must have no JPM."""
    return OUTPUTS[architecture.output](architecture)
