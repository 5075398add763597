"""Choose the camera embedding of each image. Pure functions that read no file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.datasets import CAMERAS, PUBLISHED
from runtime.errors import ConfigError
from runtime.spec import CAMERA_MODES, InputSpec


def dataset_name(layout: str | None, warnings: Sequence[str]) -> str | None:
    """Return the name of the data set that was read, which is also the name of its `layout`; None if it cannot be identified.

    `warnings` is the result of `runtime.datasets.count_warnings`. A published data set is identified if `layout` is its own and
    `warnings` is empty, which means that the numbers of images and people are the published ones. The layout alone is no proof,
    because many data sets use the folders and file names of Market-1501. The layout `anny` is the exception: only this project's own
    data set has it, so `warnings` does not matter.
    """
    return layout if layout == "anny" or (layout in PUBLISHED and not warnings) else None


def own_dataset(spec: InputSpec) -> str | None:
    """Return the data set on which the model's camera embeddings were trained, or None if it is not known.

    It is the one that `spec` names, unless this data set has another number of cameras than the model has embeddings.
    """
    name = spec.dataset
    size_differs = name in PUBLISHED and CAMERAS.get(name, spec.cameras) != spec.cameras
    return None if size_differs else name


def resolve_policy(spec: InputSpec, *, policy: str | int | None, dataset: str | None) -> str | int:
    """Return the camera policy, which says what camera embedding each image gets: "input", "mean", "none" or a 0-based camera id.

    "input" is that of the image's own camera, "mean" the mean of all embeddings, "none" no embedding, and a camera id the embedding
    of this camera for all images. `spec` describes the model's input.

    If the export fixed the embedding of the model, the result is `spec.camera`, and any other `policy` than this or None is an error.
    For another model, the result is `policy`. If that is None, the result is "input" for images of the data set on which the
    embeddings were trained, and "mean" for others; `dataset` names the data set of the images (None: unknown). Raises ConfigError
    for an unknown policy, and for one that the model cannot follow.
    """
    if isinstance(policy, str) and policy not in CAMERA_MODES:
        raise ConfigError(f"camera={policy!r:.40}: give input, mean, none or a 0-based camera id")
    if spec.camera != "input":
        if policy not in (None, spec.camera) and not spec.cameras:
            raise ConfigError(
                f"camera={policy!r}: this model has no camera embedding; remove the argument camera (--camera)"
            )
        if policy not in (None, spec.camera):
            raise ConfigError(
                f"camera={policy!r}: this model's camera is fixed to {spec.camera!r}; remove the argument camera (--camera), "
                "or export again with export_onnx.py --camera input"
            )
        return spec.camera
    if policy is None:
        return "input" if dataset is not None and dataset == own_dataset(spec) else "mean"
    if isinstance(policy, int) and not 0 <= policy < spec.cameras:
        raise ConfigError(
            f"camera={policy!r}: this model has cameras 0 to {spec.cameras - 1}; give one of them"
        )
    return policy


def camera_ids(
    camids: ArrayLike, spec: InputSpec, *, policy: str | int | None = None, dataset: str | None = None
) -> tuple[NDArray[np.int64] | None, str | None]:
    """Return (the model's second input `camera_ids`, a note for the user).

    The first is (N,) int64, or None for a model without this input. A value is a 0-based camera id, `spec.mean_camera` for the mean of
    the embeddings, or `spec.no_camera` for none. The second is a text that says why images get the mean, or None.

    `camids` (N,) are the cameras of the images, 0-based and -1 if unknown. `spec` describes the model's input. `policy` and
    `dataset` are as in `resolve_policy`. With the policy "input", an image whose camera is unknown or has no embedding gets
    `spec.mean_camera`. Raises ConfigError for a policy that the model cannot follow.
    """
    chosen = resolve_policy(spec, policy=policy, dataset=dataset)
    if spec.camera != "input":
        return None, None
    ids = np.asarray(camids, dtype=np.int64)
    if chosen == "input":
        unknown = (ids < 0) | (ids >= spec.cameras)
        count = int(unknown.sum())
        note = f"camera embedding: mean for {count} of {len(ids)} images, whose camera is unknown"
        return np.where(unknown, spec.mean_camera, ids), note if count else None
    constant = {"mean": spec.mean_camera, "none": spec.no_camera}.get(str(chosen), chosen)
    note = (
        "camera embedding: mean, because this model's camera ids are valid only on the data set that it was trained on "
        f"({own_dataset(spec) or 'unknown'}); to use the cameras of the images anyway, give camera='input' (--camera input)"
    )
    return np.full_like(ids, constant), note if policy is None else None
