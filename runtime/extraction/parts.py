"""Run a model on chunks of crops, wherever they come from, and return the features of each chunk as a Part."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.errors import NonFiniteFeatures, OutOfMemory
from runtime.images.preprocess import to_input
from runtime.images.skipped import Skipped
from runtime.session import Session

# A feature with a smaller norm, such as an all-zero output, has no reliable direction and is not used.
MIN_NORM = 1e-6


class ImageItem(Protocol):
    """An image file with its identity and its 0-based camera (-1 if unknown), as in `runtime.datasets.Item`."""

    @property
    def path(self) -> str: ...  # noqa: D102

    @property
    def pid(self) -> int: ...  # noqa: D102

    @property
    def camid(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Part:
    """The features of one chunk of the images.

    `positions` are the indices of the n usable images of the chunk in the list of all images. In the same order, `features` (n, D)
    are L2-normalised, `images` are the sha256 of the files, and `notes` are remarks on how each file was read. `skipped` has the
    index and the reason of each unusable image.
    """

    positions: tuple[int, ...]
    features: NDArray[np.float32]
    images: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...]
    skipped: tuple[tuple[int, Skipped], ...]


@dataclass(frozen=True)
class Crop:
    """An image of one person, ready for the model: its index in the list of all images, and `pixels` (height, width, 3) uint8 RGB.

    `sha256` is that of its file, or "" if it has none. `notes` are remarks on how the file was read.
    """

    position: int
    pixels: NDArray[np.uint8]
    sha256: str = ""
    notes: tuple[str, ...] = ()


Chunk = Sequence[tuple[int, Crop | Skipped]]


def crop_parts(
    artifact: Artifact,
    items: Sequence[ImageItem],
    chunks: Iterable[Chunk],
    *,
    batch: int,
    camera_ids: NDArray[np.int64] | None = None,
    pad: bool = False,
) -> Generator[Part, None, None]:
    """Yield one Part for each chunk. A chunk has (the index in `items`, the Crop or the reason why there is none) of each image.

    The model runs with `batch` images at a time, and with fewer after it was out of memory. With `pad`, each chunk is filled up to
    `batch` images. `camera_ids` (N,) is the camera input of the model for `items`, or None. Raises NonFiniteFeatures with the path of
    the first image whose features are NaN or infinite.
    """
    full = batch
    for chunk in chunks:
        skipped = [(position, crop) for position, crop in chunk if isinstance(crop, Skipped)]
        crops = [crop for _, crop in chunk if isinstance(crop, Crop)]
        features = np.empty((0, artifact.dim), np.float32)
        if crops:
            # Copies of the last crop replace the unusable images, because a backend is slow at the first batch of each size.
            padded = crops + crops[-1:] * ((full if pad else len(chunk)) - len(crops))
            features, batch = _run(artifact, items, padded, camera_ids, batch)
            features = features[: len(crops)]
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        usable_rows = np.flatnonzero(norms >= MIN_NORM)
        zero = (crops[row] for row in np.flatnonzero(norms < MIN_NORM))
        skipped += [
            (
                crop.position,
                Skipped(items[crop.position].path, "its feature has length zero", crop.sha256 or None),
            )
            for crop in zero
        ]
        kept = [crops[row] for row in usable_rows]
        yield Part(
            positions=tuple(crop.position for crop in kept),
            features=features[usable_rows] / norms[usable_rows],
            images=tuple(crop.sha256 for crop in kept),
            notes=tuple(crop.notes for crop in kept),
            skipped=tuple(skipped),
        )


def _run(
    artifact: Artifact,
    items: Sequence[ImageItem],
    crops: Sequence[Crop],
    camera_ids: NDArray[np.int64] | None,
    batch: int,
) -> tuple[NDArray[np.float32], int]:
    """Return the features (len(crops), D), and the batch size that fitted into the device's memory."""
    images = to_input(np.stack([crop.pixels for crop in crops]), artifact.spec)
    ids = None if camera_ids is None else camera_ids[[crop.position for crop in crops]]
    try:
        return run_halving(artifact.run, images, ids, batch)
    except NonFiniteFeatures as error:
        path = items[crops[error.rows[0]].position].path
        raise NonFiniteFeatures(f"{path}: {error}; export the model again", error.rows) from None


def run_halving(
    run: Session, images: NDArray[np.generic], ids: NDArray[np.int64] | None, batch: int
) -> tuple[NDArray[np.float32], int]:
    """Return the features of `images`, run with `batch` images at a time, and the batch size that was used last.

    When the device is out of memory, the batch size is halved; if one image does not fit, OutOfMemory is raised. `ids` are the camera
    ids of the images, or None. The `rows` of a NonFiniteFeatures error are indices in `images`, not in a batch.
    """
    parts: list[NDArray[np.float32]] = []
    at = 0
    while at < len(images):
        step = slice(at, at + batch)
        try:
            parts.append(run(images[step], None if ids is None else ids[step]))
        except OutOfMemory:
            tried = min(batch, len(images) - at)
            if tried == 1:
                raise
            batch = tried // 2
            continue
        except NonFiniteFeatures as error:
            raise NonFiniteFeatures(str(error), tuple(at + row for row in error.rows)) from None
        at += batch
    return np.concatenate(parts), batch
