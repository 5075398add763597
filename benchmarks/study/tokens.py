"""Patch tokens that lie on the person, and how many of them a pruned block keeps. Works on ids and masks, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATCH = 16


def person_tokens(masks: NDArray[np.bool_], size: tuple[int, int], stride: int) -> NDArray[np.bool_]:
    """Return (N, P) bool: whether at least half of the pixels under each 16 x 16 patch show the person.

    Patches are numbered row by row. The masks (N, h, w) are sampled at the model's (height, width) `size`.
    """
    height, width = size
    rows = np.arange(height) * masks.shape[1] // height
    columns = np.arange(width) * masks.shape[2] // width
    sampled = masks[:, rows][:, :, columns]
    windows = np.lib.stride_tricks.sliding_window_view(sampled, (PATCH, PATCH), axis=(1, 2))
    covered = windows[:, ::stride, ::stride].mean(axis=(3, 4))
    return np.asarray(covered.reshape(len(masks), -1) >= 0.5)


def shares(person: NDArray[np.bool_], blocks: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return {all, kept, person_kept}: shares over N images; `kept` and `person_kept` have one value per block.

    `all` is the share of all patch tokens that lie on the person. `kept` is the share of the kept patch tokens that lie on the
    person. `person_kept` is the share of the tokens on the person that are kept. `person` is the (N, P) result of
    `person_tokens`; `blocks` are the kept ids of each block, where 0 is the class token, which has no patch.
    """
    total = max(int(person.sum()), 1)
    kept = [person[:, [token - 1 for token in block if token]] for block in blocks]
    return {
        "all": float(person.mean()),
        "kept": [float(part.mean()) if part.size else 0.0 for part in kept],
        "person_kept": [float(part.sum() / total) for part in kept],
    }
