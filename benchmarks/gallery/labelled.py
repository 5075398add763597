"""Read feature files of labelled people, and join those of one name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime import load_features
from runtime.errors import DataError
from runtime.features import Features, same_model


def read_people(files: Sequence[tuple[str, Path]]) -> list[tuple[str, Features]]:
    """Return (name, features) for each name, in the order of the names.

    Raises DataError for features without people or image files, and ArtifactError for features of several models.
    """
    groups: dict[str, list[Features]] = {}
    for name, path in files:
        features = load_features(path)
        if not len(features.images) or (features.pids <= 0).any():
            raise DataError(
                f"{path}: has rows without a person or an image file; give features of labelled images"
            )
        groups.setdefault(name, []).append(features)
    joined = [(name, _joined(parts)) for name, parts in groups.items()]
    for _, features in joined[1:]:
        same_model(joined[0][1], features)
    return joined


def _joined(parts: Sequence[Features]) -> Features:
    for part in parts[1:]:
        same_model(parts[0], part)
    return replace(
        parts[0],
        features=np.concatenate([part.features for part in parts]),
        pids=np.concatenate([part.pids for part in parts]),
        camids=np.concatenate([part.camids for part in parts]),
        paths=tuple(path for part in parts for path in part.paths),
        images=tuple(image for part in parts for image in part.images),
    )
