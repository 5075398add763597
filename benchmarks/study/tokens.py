"""Which tokens lie on the person, and how many of those a pruned block keeps. Knows no model, only ids and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATCH = 16


def person_tokens(masks: NDArray[np.bool_], size: tuple[int, int], stride: int) -> NDArray[np.bool_]:
    """(N, P): whether at least half of the pixels under each patch of 16 x 16 show the person; patches row by row.

    masks (N, h, w) are sampled at the model's (height, width) `size`.
    """
    height, width = size
    rows = np.arange(height) * masks.shape[1] // height
    columns = np.arange(width) * masks.shape[2] // width
    sampled = masks[:, rows][:, :, columns]
    windows = np.lib.stride_tricks.sliding_window_view(sampled, (PATCH, PATCH), axis=(1, 2))
    covered = windows[:, ::stride, ::stride].mean(axis=(3, 4))
    return np.asarray(covered.reshape(len(masks), -1) >= 0.5)


def shares(person: NDArray[np.bool_], blocks: Sequence[Sequence[int]]) -> dict[str, Any]:
    """{all, kept, person_kept}: shares over N pictures, the last two with a value per block.

    `all`: of all patch tokens, those on the person; `kept`: of the kept ones, those on the person; `person_kept`: of those on
    the person, the kept ones. person (N, P); `blocks` are kept ids, 0 the class token, which is on nobody.
    """
    total = max(int(person.sum()), 1)
    kept = [person[:, [token - 1 for token in block if token]] for block in blocks]
    return {
        "all": float(person.mean()),
        "kept": [float(part.mean()) if part.size else 0.0 for part in kept],
        "person_kept": [float(part.sum() / total) for part in kept],
    }
