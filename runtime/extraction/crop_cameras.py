"""The camera ids of crops in memory, which have no file names: one policy or id for all of them, or one id for each."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.datasets.cameras import camera_ids
from runtime.errors import ConfigError
from runtime.spec import InputSpec

Camera = str | int | ArrayLike | None


def crop_camera_ids(camera: Camera, count: int, spec: InputSpec) -> NDArray[np.int64] | None:
    """Return the model's second input `camera_ids` for `count` crops, (count,) int64, or None for a model that takes none.

    `camera` is None, a camera policy or a 0-based camera id for all crops, or one camera id for each, where -1 stands for an unknown
    camera. Raises ConfigError for anything else, for a camera that the model does not have, and for the policy "input", because
    crops have no file names.
    """
    if not is_one(camera):
        ids = ids_of(camera, count)
        if spec.camera == "input" and len(wrong := ids[(ids < -1) | (ids >= spec.cameras)]):
            raise ConfigError(
                f"camera {wrong[0]}: this model has cameras 0 to {spec.cameras - 1}; give one of them, or -1 for unknown"
            )
        return camera_ids(ids, spec, policy="input")[0]
    if camera == "input":
        raise ConfigError(
            'camera="input": crops have no file names; give one 0-based camera id for each crop'
        )
    policy = camera if camera is None or isinstance(camera, str) else int(camera)
    return camera_ids(np.full(count, -1), spec, policy=policy)[0]


def is_one(camera: Camera) -> TypeGuard[str | int | None]:
    """Return whether `camera` is one policy or one camera id for all crops."""
    return camera is None or isinstance(camera, str | int | np.integer)


def ids_of(camera: Camera, count: int) -> NDArray[np.int64]:
    """Return one camera id for each of `count` crops or boxes; raise ConfigError for anything else."""
    try:
        ids = np.asarray(camera)
    except ValueError:
        raise ConfigError(
            "camera: a list whose entries have different lengths; give one 0-based camera id for each crop or box"
        ) from None
    if ids.shape != (count,) or (ids.dtype.kind not in "iu" and count):
        raise ConfigError(
            f"camera: {ids.dtype} {ids.shape} for {count} crops or boxes; give one 0-based camera id for each"
        )
    return ids.astype(np.int64)
