"""The images that INT8 ranges are measured on: chosen, hashed, in the artifact's own input. Never random data, never silently few."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.datasets import Item, count_warnings, guess_layout, read_dataset
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.errors import ConfigError, DataError
from runtime.images.decode import decode, read_bytes
from runtime.images.lists import read_images
from runtime.images.preprocess import resize, to_input
from runtime.spec import InputSpec

COUNT = 512
# What NVIDIA advises at least for networks of this kind.
ENOUGH = 500


@dataclass(frozen=True)
class Calibration:
    """N crops (N, H, W, 3) uint8 RGB for `spec`, their `camera_ids` (N,) int64 or None, the files' hash, and notes for people.

    `sha256` covers the content of the files, not their names or order. Iterating gives feeds (input name -> array) of `batch`
    images, as often as needed.
    """

    images: NDArray[np.uint8]
    camera_ids: NDArray[np.int64] | None
    spec: InputSpec
    sha256: str
    notes: tuple[str, ...] = ()
    batch: int = 16

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Feeds in the artifact's own input; a fixed batch is filled with the last image."""
        return feeds(self.images, self.camera_ids, self.spec, batch=self.batch)

    def to_json(self) -> dict[str, Any]:
        """For the manifest: {images, sha256}."""
        return {"images": len(self.images), "sha256": self.sha256}


def calibration_set(
    root: Path | str, spec: InputSpec, *, count: int = COUNT, camera: str | int | None = None
) -> Calibration:
    """Up to `count` images evenly spaced over the training images of the data set, or over the images of the folder, at `root`.

    `spec` is the artifact's; `camera` is the policy of `runtime.datasets.cameras.camera_ids`. Unreadable images are left out and
    noted.
    DataError: no such folder, no image, none readable. ConfigError: `count` below 1.
    """
    if count < 1:
        raise ConfigError(f"--calibration-count {count}: give 1 or more")
    if not Path(root).is_dir():
        raise DataError(
            f"{root}: no such folder of calibration images; give --calibration DIR, or another --check"
        )
    items, dataset = _items(str(root))
    chosen = [items[index] for index in spaced(len(items), count)]
    crops, digests, camids, bad = [], [], [], 0
    for item in chosen:
        try:
            data = read_bytes(item.path)
            crops.append(resize(decode(data).pixels, spec))
        except DataError:
            bad += 1
            continue
        digests.append(hashlib.sha256(data).hexdigest())
        camids.append(item.camid)
    if not crops:
        raise DataError(
            f"{root}: none of {len(chosen)} calibration images can be read; give --calibration DIR"
        )
    rows, note = camera_ids(camids, spec, policy=camera, dataset=dataset)
    notes = [note] if note else []
    if bad:
        notes.append(f"WARNING {root}: {bad} of {len(chosen)} calibration images cannot be read")
    if len(crops) < ENOUGH:
        notes.append(f"WARNING {root}: only {len(crops)} calibration images; {ENOUGH} or more are advised")
    return Calibration(np.stack(crops), rows, spec, content_hash(digests), tuple(notes))


def feeds(
    images: NDArray[np.uint8], rows: NDArray[np.int64] | None, spec: InputSpec, *, batch: int = 16
) -> Iterator[dict[str, NDArray[Any]]]:
    """Crops (N, H, W, 3) uint8 and camera ids (N,) -> {images[, camera_ids]} of `batch` images, or of the batch that `spec` fixes.

    The last feed is shorter, but for a fixed batch: there the last image is repeated.
    """
    step = spec.batch or batch
    for at in range(0, len(images), step):
        index = np.arange(at, at + step if spec.batch else min(at + step, len(images)))
        index = np.minimum(index, len(images) - 1)
        feed: dict[str, NDArray[Any]] = {"images": to_input(images[index], spec)}
        if rows is not None:
            feed["camera_ids"] = rows[index]
        yield feed


def content_hash(digests: Sequence[str]) -> str:
    """One sha256 for a set of files from their sha256 digests; their order does not matter, how often each comes does."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def spaced(total: int, count: int) -> list[int]:
    """Up to `count` different indices, evenly spaced over 0..total - 1."""
    return [int(index) for index in np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))]


def _items(root: str) -> tuple[list[Item], str | None]:
    """(the images, the data set's name where that is sure): a data set's training images, or all images of a folder."""
    try:
        dataset = read_dataset(root, guess_layout(root))
    except (ConfigError, DataError):
        return read_images(root), None
    # what is searched later must not shape the model
    if dataset.train:
        return list(dataset.train), dataset_name(dataset.layout, count_warnings(dataset))
    return read_images(root), None
