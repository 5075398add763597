"""Which camera embedding each image gets. Pure functions; knows nothing of files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.datasets import CAMERAS, PUBLISHED
from runtime.errors import ConfigError
from runtime.spec import CAMERAS as POLICIES
from runtime.spec import InputSpec


def dataset_name(layout: str | None, warnings: Sequence[str]) -> str | None:
    """The data set that images in this layout are, or None when that is not sure.

    Many data sets are published in Market-1501's folders and file names, so a layout proves nothing; the
    published number of images does (`warnings`: the complaints of `runtime.datasets.count_warnings`). A layout that anybody
    may use for a set of their own is no data set at all. Only our own `anny` has a layout that nobody else uses.
    """
    return layout if layout == "anny" or (layout in PUBLISHED and not warnings) else None


def own_dataset(spec: InputSpec) -> str | None:
    """The data set whose camera ids index the model's table, or None when that is not known.

    A table of another size than a published data set's was not trained on it, whatever the file says.
    """
    name = spec.dataset
    other = name in PUBLISHED and CAMERAS.get(name, spec.cameras) != spec.cameras
    return None if other else name


def resolve_policy(spec: InputSpec, *, policy: str | int | None, dataset: str | None) -> str | int:
    """The policy that is followed: `policy`, or where it is None what the model and the data set call for.

    ConfigError for an unknown policy, and for one that the model cannot follow.
    """
    if isinstance(policy, str) and policy not in POLICIES:
        raise ConfigError(f"camera {policy!r:.40}: give input, mean, none or a 0-based camera id")
    if spec.camera != "input":
        if policy not in (None, spec.camera) and not spec.cameras:
            raise ConfigError(f"--camera {policy}: this model has no camera embedding; leave --camera out")
        if policy not in (None, spec.camera):
            raise ConfigError(
                f"--camera {policy}: this model's camera is fixed to {spec.camera!r}; leave --camera out, "
                "or export again with --camera input"
            )
        return spec.camera
    if policy is None:
        return "input" if dataset is not None and dataset == own_dataset(spec) else "mean"
    if isinstance(policy, int) and not 0 <= policy < spec.cameras:
        raise ConfigError(f"--camera {policy}: this model knows cameras 0 to {spec.cameras - 1}")
    return policy


def camera_ids(
    camids: ArrayLike, spec: InputSpec, *, policy: str | int | None = None, dataset: str | None = None
) -> tuple[NDArray[np.int64] | None, str | None]:
    """What to feed a model as `camera_ids` (N,) int64 (None: it takes none), and a note for people or None.

    `camids` (N,) are 0-based, -1 where unknown. They index the model's table only on the data set it was
    trained on, so `policy` None means "input" there and "mean" on any other `dataset`. A camera that the
    table lacks gets the mean. ConfigError for a policy that the model cannot follow.
    """
    chosen = resolve_policy(spec, policy=policy, dataset=dataset)
    if spec.camera != "input":
        return None, None
    ids = np.asarray(camids, dtype=np.int64)
    if chosen == "input":
        unknown = (ids < 0) | (ids >= spec.cameras)
        lost = int(unknown.sum())
        note = f"camera embedding: mean for {lost} of {len(ids)} images, whose camera is unknown"
        return np.where(unknown, spec.mean_camera, ids), note if lost else None
    constant = {"mean": spec.mean_camera, "none": spec.no_camera}.get(str(chosen), chosen)
    note = (
        "camera embedding: mean, because camera ids mean something to this model only on the data set "
        f"that it was trained on ({own_dataset(spec) or 'unknown'}); --camera input uses the names' ids anyway"
    )
    return np.full_like(ids, constant), note if policy is None else None
