"""Bring the tensors of families with names of their own into this project's names, which are TransReID's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from prune.importing import clip, pass_reid

State = dict[str, Tensor]

# The end of a tensor name that only this family has -> the function that returns the state with our names.
LAYOUTS: dict[str, Callable[[State], State]] = {
    "image_encoder.class_embedding": clip.renamed,
    "base.part_token1": pass_reid.renamed,
}


def in_our_names(state: Mapping[str, Tensor]) -> State:
    """Return the tensors of `state` with the names that this project's model gives them."""
    for sign, renamed in LAYOUTS.items():
        if any(key.endswith(sign) for key in state):
            return renamed(dict(state))
    return dict(state)
