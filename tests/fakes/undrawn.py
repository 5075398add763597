"""Models into which a whole state is loaded: drawing initial weights first would take most of a search, and seconds at full size."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from prune.model import surgery
from prune.model.transreid import TransReID


def fill(layer: nn.Linear | nn.Conv2d) -> None:
    """NaN shows a weight that was not overwritten."""
    for parameter in layer.parameters():
        parameter.data.fill_(torch.nan)


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Models that are made in this context have NaN in their Linear layers and convolution."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransReID, "reset", lambda model: None)
        for layer in (nn.Linear, nn.Conv2d):
            patch.setattr(layer, "reset_parameters", fill)
        yield


@contextlib.contextmanager
def surgery_undrawn() -> Iterator[None]:
    """The models that `rebuild` of prune.model.surgery makes are drawn no initial weights; it loads a whole state into each."""

    def make(*arguments: Any, **keywords: Any) -> TransReID:
        with undrawn():
            return TransReID(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surgery, "TransReID", make)
        yield
