"""The embedding space of stored features. Features of two different spaces are never ranked together."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from runtime.artifact import Artifact
from runtime.datasets.cameras import resolve_policy
from runtime.errors import ArtifactError
from runtime.features import RESIZE, Features
from runtime.files.json_text import parse_json

NAMES = {
    "model": "the model file (sha256)",
    "dim": "the numbers in a feature",
    "camera": "the camera embedding",
    "resize": "the resize",
    "projection": "the projection (sha256)",
}


@dataclass(frozen=True)
class Space:
    """What decides the numbers in a feature.

    `model` is the sha256 of the model file, which includes its precision and its projection, and `dim` the number of values in a
    feature. `camera` is the camera policy as text ("input", "mean", "none" or a camera id), and `resize` the method that resized the
    images. `projection` is the sha256 of the projection that the model ends with, or None for a model without one.
    """

    model: str
    dim: int
    camera: str
    resize: str = RESIZE
    projection: str | None = None

    def to_text(self) -> str:
        """Return the space as the JSON text that a store keeps."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Space:
        """Return the space that `to_text` wrote. Raises ValueError for a damaged text."""
        content: Any = parse_json(text, finite=True)
        if not isinstance(content, dict) or set(content) != set(NAMES):
            raise ValueError("its embedding space is damaged")
        space = cls(**content)
        if not isinstance(space.dim, int) or space.dim < 1:
            raise ValueError("its embedding space is damaged")
        return space


def space_of(artifact: Artifact, camera: str | int | None = None, dataset: str | None = None) -> Space:
    """Return the space of the features that a model gives under a camera policy.

    `camera` and `dataset` are as in `runtime.datasets.cameras.resolve_policy`, whose ConfigError is raised for a policy that the model
    cannot follow.
    """
    policy = resolve_policy(artifact.spec, policy=camera, dataset=dataset)
    return Space(artifact.sha256, artifact.dim, str(policy), projection=artifact.projection)


def space_of_features(features: Features) -> Space:
    """Return the space of features that `extract` made."""
    dim = int(features.features.shape[1])
    return Space(features.model, dim, features.camera, projection=features.projection)


def same_space(stored: Space, other: Space, where: str) -> None:
    """Raise ArtifactError unless both spaces are equal. The message names each difference; `where` is the gallery."""
    different = [
        f"{name} is {_short(getattr(stored, key))} there and {_short(getattr(other, key))} here"
        for key, name in NAMES.items()
        if getattr(stored, key) != getattr(other, key)
    ]
    if different:
        raise ArtifactError(
            f"{where}: holds features of another embedding space: {'; '.join(different)}; use the model and the "
            "`camera` (--camera) of this gallery, or start another gallery"
        )


def _short(value: object) -> str:
    return str(value)[:12]
