"""Find the patch tokens that lie on the person in an image, and count how many of them pruned blocks keep. Runs no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATCH = 16


def person_tokens(masks: NDArray[np.bool_], size: tuple[int, int], stride: int) -> NDArray[np.bool_]:
    """Return a mask (N, P) that is true where one of P patches lies on the person in one of N images.

    A patch lies on the person if at least half of its 16 x 16 pixels do. `masks` (N, h, w) mark the pixels of the person, and are
    resized to `size`, the (height, width) of the model's input. Patches begin every `stride` pixels and are numbered row by row.
    """
    height, width = size
    rows = np.arange(height) * masks.shape[1] // height
    columns = np.arange(width) * masks.shape[2] // width
    sampled = masks[:, rows][:, :, columns]
    windows = np.lib.stride_tricks.sliding_window_view(sampled, (PATCH, PATCH), axis=(1, 2))
    covered = windows[:, ::stride, ::stride].mean(axis=(3, 4))
    return np.asarray(covered.reshape(len(masks), -1) >= 0.5)


def shares(person: NDArray[np.bool_], blocks: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return {all, kept, person_kept}: how well the tokens that a model keeps cover the person, as fractions (0..1) over N images.

    `all` is the fraction of all patch tokens that lie on the person. `kept` has, for each block, the fraction of its kept patch
    tokens that lie on the person. `person_kept` has, for each block, the fraction of the tokens on the person that it keeps.
    `person` (N, P) is the result of `person_tokens`. `blocks` has a list for each prunable block of the model: the ids of the tokens
    that it keeps, in every image. The id 0 is the class token, which is not counted, and the id n is the n-th patch.
    """
    total = max(int(person.sum()), 1)
    kept = [person[:, [token - 1 for token in block if token]] for block in blocks]
    return {
        "all": float(person.mean()),
        "kept": [float(part.mean()) if part.size else 0.0 for part in kept],
        "person_kept": [float(part.sum() / total) for part in kept],
    }
