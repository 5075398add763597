"""Make and save the check crops of an artifact, with its parent's features. The gate compares on them, here and on a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.options import CHECK_COUNT
from runtime.check import Check as Check
from runtime.check import run_check as run_check
from runtime.datasets import guess_layout, read_dataset
from runtime.errors import ConfigError, DataError
from runtime.files.manifest import replacing, sha256
from runtime.images.decode import load_image
from runtime.images.preprocess import resize
from runtime.images.sources import read_images
from runtime.session import Session
from runtime.spec import InputSpec


def check_crops(root: Path | str, spec: InputSpec, count: int = CHECK_COUNT) -> NDArray[np.uint8]:
    """Return up to `count` resized crops, (N, H, W, 3) uint8, evenly spaced over the test images under `root`.

    `root` is a data set or any folder of images. Raises DataError when fewer than three images can be read.
    """
    if not Path(root).is_dir():
        raise DataError(
            f"{root}: the folder of check images does not exist; give --check ROOT, or --gate off"
        )
    paths = _test_paths(str(root))
    chosen = [
        paths[index]
        for index in np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int))
    ]
    crops = []
    for path in chosen:
        try:
            crops.append(resize(load_image(path), spec))
        except DataError:
            # Unreadable images are left out here; only their number matters, which is checked below.
            continue
    if len(crops) < 3:
        raise DataError(
            f"{root}: only {len(crops)} images can be read; the gate needs at least 3 (256 are better)"
        )
    return np.stack(crops)


def _test_paths(root: str) -> list[str]:
    try:
        dataset = read_dataset(root, guess_layout(root))
    except (ConfigError, DataError):
        return [item.path for item in read_images(root)]
    return [item.path for item in (*dataset.query, *dataset.gallery)]


def make_check(
    crops: NDArray[np.uint8], parent: Session, spec: InputSpec, row: int | None, *, batch: int = 8
) -> Check:
    """Return the crops with the parent's features; `spec` is the parent's input (float-nchw).

    `row` is the camera row that is fixed in the artifact. With None, the crops use all rows of the camera table in turn, including
    the rows mean and none.
    """
    count = len(crops)
    camera_rows = np.arange(count) % (spec.cameras + 2) if row is None else np.full(count, row)
    check = Check(crops, camera_rows.astype(np.int64), np.empty((count, 0), np.float32))
    return replace(check, features=run_check(check, parent, spec, batch=batch))


def save_check(path: Path, check: Check) -> dict[str, Any]:
    """Write `<model>.onnx.check.npz` and return {file, sha256, images} for the manifest."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, images=check.images, camera_ids=check.camera_ids, features=check.features.astype(np.float32)
        )
    return {"file": path.name, "sha256": sha256(path), "images": len(check.images)}
