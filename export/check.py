"""Make and save the check of an exported file: test crops, and the features that the torch model computes for them.

The gate compares the features that the exported file computes for these crops with the saved ones, after the export and again on
a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.options import CHECK_COUNT
from runtime.checks.check_crops import Check as Check
from runtime.checks.check_crops import run_check as run_check
from runtime.console import note
from runtime.datasets import Item, guess_layout, read_dataset
from runtime.errors import ConfigError, DataError
from runtime.files.manifest import replacing, sha256
from runtime.images.decode import load_image
from runtime.images.preprocess import resize
from runtime.images.sources import read_images
from runtime.session import Session
from runtime.spec import InputSpec


def check_crops(root: Path | str, spec: InputSpec, count: int = CHECK_COUNT) -> NDArray[np.uint8]:
    """Return up to `count` resized crops, (N, H, W, 3) uint8 RGB, evenly spaced over the test images under `root`.

    `root` is a data set or any folder of images; of a plain folder, all images count as test images. `spec` gives H and W. Raises
    DataError when the folder does not exist or fewer than three images can be read.
    """
    if not Path(root).is_dir():
        raise DataError(f"{root}: the folder of check images does not exist; give another one with --check")
    items = _test_items(str(root))
    indices = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).astype(int))
    crops, _ = read_crops([items[index] for index in indices], spec)
    if len(crops) < 3:
        raise DataError(
            f"{root}: only {len(crops)} check images can be read; give --check a folder with at least 3 (256 are better)"
        )
    return np.stack(crops)


def read_crops(items: Sequence[Item], spec: InputSpec) -> tuple[list[NDArray[np.uint8]], list[Item]]:
    """Return (crops, their items) of all `items` whose image can be read; a crop is (H, W, 3) uint8 RGB in the size of `spec`.

    The other items are left out, and one line on stderr gives their number and the reason for the first of them.
    """
    crops, readable, reasons = [], [], []
    for item in items:
        try:
            crops.append(resize(load_image(item.path), spec))
        except DataError as error:
            reasons.append(str(error))
        else:
            readable.append(item)
    if reasons:
        note(
            f"{len(reasons)} of {len(items)} images cannot be read and are left out; the first: {reasons[0]}"
        )
    return crops, readable


def _test_items(root: str) -> list[Item]:
    try:
        dataset = read_dataset(root, guess_layout(root))
    except (ConfigError, DataError):
        return read_images(root)
    return [*dataset.query, *dataset.gallery]


def make_check(
    crops: NDArray[np.uint8], parent: Session, spec: InputSpec, row: int | None, *, batch: int = 8
) -> Check:
    """Return the check of an export: `crops` (N, H, W, 3) uint8 RGB, with the features that the torch model computes for them.

    `parent` is the session that runs the torch model, `batch` crops at a time, and `spec` is its input (float-nchw). `row` is the row
    of the camera table that is fixed in the exported file. If it is None, the first crop uses row 0, the second row 1, and so on
    through all rows, including those for the mean camera and for no camera.
    """
    count = len(crops)
    camera_rows = np.arange(count) % (spec.cameras + 2) if row is None else np.full(count, row)
    check = Check(crops, camera_rows.astype(np.int64), np.empty((count, 0), np.float32))
    return replace(check, features=run_check(check, parent, spec, batch=batch))


def save_check(path: Path, check: Check) -> dict[str, Any]:
    """Write `check` to the .npz file at `path`; return its manifest entry {file, sha256, images}, where `images` counts the crops."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, images=check.images, camera_ids=check.camera_ids, features=check.features.astype(np.float32)
        )
    return {"file": path.name, "sha256": sha256(path), "images": len(check.images)}
