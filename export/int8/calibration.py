"""The calibration images, on which value ranges are measured: choose them, hash them, and feed them to the exported graph.

If there are no images, this is an error; random data are never used instead. A warning says if there are few images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.options import CALIBRATION_COUNT
from runtime.datasets import Item, count_warnings, guess_layout, read_dataset
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.errors import ConfigError, DataError
from runtime.images.decode import decode, read_bytes
from runtime.images.preprocess import resize, to_input
from runtime.images.sources import read_images
from runtime.spec import InputSpec

# The least number of images that NVIDIA advises for networks of this kind.
ENOUGH = 500


@dataclass(frozen=True)
class Calibration:
    """Calibration crops `images` (N, H, W, 3) uint8 RGB in the size of `spec`, the input of the exported file.

    `camera_ids` (N,) int64 are rows of the camera table; None if the file takes no camera ids. `sha256` covers the content of the
    image files, not their names or order. `notes` are warnings for the user, one line each. Iterating yields feeds
    {input name: array} of `batch` images, and every iteration starts with the first image again.
    """

    images: NDArray[np.uint8]
    camera_ids: NDArray[np.int64] | None
    spec: InputSpec
    sha256: str
    notes: tuple[str, ...] = ()
    batch: int = 16

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield feeds in the input format of the exported file; a fixed batch is filled up with the last image."""
        return feeds(self.images, self.camera_ids, self.spec, batch=self.batch)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest entry {images, sha256}."""
        return {"images": len(self.images), "sha256": self.sha256}


def calibration_set(
    root: Path | str, spec: InputSpec, *, count: int = CALIBRATION_COUNT, camera: str | int | None = None
) -> Calibration:
    """Return the Calibration that `training_crops` makes of up to `count` images of `root`, with a note if there are few.

    Raises ConfigError for a `count` below 1.
    """
    if count < 1:
        raise ConfigError(f"--calibration-count {count}: give 1 or more")
    crops = training_crops(root, spec, count=count, camera=camera)
    if len(crops.images) < ENOUGH:
        few = f"WARNING {root}: there are only {len(crops.images)} calibration images; use {ENOUGH} or more"
        return replace(crops, notes=(*crops.notes, few))
    return crops


def training_crops(
    root: Path | str,
    spec: InputSpec,
    *,
    count: int,
    camera: str | int | None = None,
    option: str = "--calibration",
) -> Calibration:
    """Return up to `count` evenly spaced images of `root`: training images of a data set, or any of a plain folder.

    `spec` is the input of the exported file. If it has camera ids, `camera` says which ones the images get: "input" (the true id of
    each image), "mean", "none" (no camera) or one 0-based camera id for all. The default None means "input" if `root` is the data
    set that the model was trained on, otherwise "mean". Unreadable images are left out, with a warning in `notes`. Raises DataError
    when the folder does not exist, has no images or none that can be read. `option` is the option that errors tell the user to give.
    """
    if not Path(root).is_dir():
        raise DataError(f"{root}: the folder of images does not exist; give {option} DIR with another one")
    items, dataset = _items(str(root))
    chosen = [items[index] for index in spaced(len(items), count)]
    crops, digests, camids, unreadable = [], [], [], 0
    for item in chosen:
        try:
            data = read_bytes(item.path)
            crops.append(resize(decode(data).pixels, spec))
        except DataError:
            unreadable += 1
            continue
        digests.append(hashlib.sha256(data).hexdigest())
        camids.append(item.camid)
    if not crops:
        raise DataError(
            f"{root}: none of the {len(chosen)} images can be read; give {option} DIR with others"
        )
    camera_rows, note = camera_ids(camids, spec, policy=camera, dataset=dataset)
    notes = [note] if note else []
    if unreadable:
        notes.append(f"WARNING {root}: {unreadable} of {len(chosen)} images cannot be read and are left out")
    return Calibration(np.stack(crops), camera_rows, spec, content_hash(digests), tuple(notes))


def feeds(
    images: NDArray[np.uint8], camera_rows: NDArray[np.int64] | None, spec: InputSpec, *, batch: int = 16
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the crops `images` (N, H, W, 3) uint8 RGB in batches, as feeds {input name: array} in the input format of `spec`.

    A feed has the key `images` and, unless `camera_rows` is None, `camera_ids`. `camera_rows` (N,) are rows of the camera table; None
    if the file takes no camera ids. A feed has `batch` images, or the fixed batch of `spec`. The last feed may be shorter; with a
    fixed batch, its last image is repeated instead.
    """
    step = spec.batch or batch
    for start in range(0, len(images), step):
        index = np.arange(start, start + step if spec.batch else min(start + step, len(images)))
        index = np.minimum(index, len(images) - 1)
        feed: dict[str, NDArray[Any]] = {"images": to_input(images[index], spec)}
        if camera_rows is not None:
            feed["camera_ids"] = camera_rows[index]
        yield feed


def content_hash(digests: Sequence[str]) -> str:
    """Return one sha256 for several files from their sha256 `digests`, whose order does not matter; equal files count separately."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def spaced(total: int, count: int) -> list[int]:
    """Return up to `count` different indices, evenly spaced over 0..total - 1."""
    return [int(index) for index in np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))]


def _items(root: str) -> tuple[list[Item], str | None]:
    """Return the training images of a data set and its name if that is certain, or all images of a plain folder and None."""
    try:
        dataset = read_dataset(root, guess_layout(root))
    except (ConfigError, DataError):
        return read_images(root), None
    # Only training images are used, because the test images must not influence the model.
    if dataset.train:
        return list(dataset.train), dataset_name(dataset.layout, count_warnings(dataset))
    return read_images(root), None
