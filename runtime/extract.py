"""Images in, features out: decoding overlaps inference in bounded memory. Knows no data set and no engine."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError
from runtime.features import Features
from runtime.images import decode, read_bytes
from runtime.preprocess import resize, to_input
from runtime.session import Artifact, NonFiniteFeatures, OutOfMemory, Session
from runtime.skipped import Skipped
from runtime.spec import InputSpec

# A feature shorter than this has no direction worth ranking by (an all-zero output).
MIN_NORM = 1e-6


class ImageItem(Protocol):
    """What `runtime.datasets.Item` has: a file, its identity and its 0-based camera (-1: unknown)."""

    @property
    def path(self) -> str: ...  # noqa: D102

    @property
    def pid(self) -> int: ...  # noqa: D102

    @property
    def camid(self) -> int: ...  # noqa: D102


class TooManyBad(DataError):
    """More images were unusable than allowed. `features` holds what could be extracted: nothing is lost."""

    def __init__(self, text: str, features: Features) -> None:
        super().__init__(text)
        self.features = features


@dataclass(frozen=True)
class _Crop:
    index: int
    pixels: NDArray[np.uint8]
    sha256: str
    notes: tuple[str, ...]


def extract(
    artifact: Artifact,
    items: Sequence[ImageItem],
    *,
    batch: int = 16,
    workers: int | None = None,
    camera_ids: NDArray[np.int64] | None = None,
    max_bad: float = 0.01,
    progress: Callable[[int], None] = lambda images: None,
) -> Features:
    """The features of all usable `items`, in their order; the others are in `.skipped`.

    `camera_ids` (N,) is `runtime.cameras.camera_ids`' answer for the items. `workers` threads decode while
    the model runs; at most two batches of crops wait. When the device runs out of memory the batch is halved
    down to 1. `progress` is told how many images each step finished. TooManyBad (a DataError) when more than
    `max_bad` of all were unusable, or every one; NonFiniteFeatures names the first image whose features are
    not numbers.
    """
    if not items:
        raise DataError("no images to extract; check the folder or list that you gave")
    # Filled from the top: the features of a large gallery exist once, not as a list and its copy.
    table = np.empty((len(items), artifact.dim), np.float32)
    index: list[int] = []
    digests: list[str] = []
    skipped: list[Skipped] = []
    notes: Counter[str] = Counter()
    waiting: list[_Crop] = []

    def flush() -> None:
        nonlocal batch
        features, batch = _run(artifact, items, waiting, camera_ids, batch)
        for crop, row, norm in zip(waiting, features, np.linalg.norm(features, axis=1)):
            if norm < MIN_NORM:
                skipped.append(Skipped(items[crop.index].path, "its feature is zero", crop.sha256))
                continue
            table[len(index)] = row / norm
            index.append(crop.index)
            digests.append(crop.sha256)
            notes.update(crop.notes)
        waiting.clear()

    for found in _crops(items, artifact.spec, workers=workers, window=2 * batch):
        progress(1)
        if isinstance(found, Skipped):
            skipped.append(found)
            continue
        waiting.append(found)
        if len(waiting) >= batch:
            flush()
    if waiting:
        flush()

    features = Features(
        features=table[: len(index)],
        paths=tuple(items[i].path for i in index),
        pids=np.array([items[i].pid for i in index], np.int64),
        camids=np.array([items[i].camid for i in index], np.int64),
        model=artifact.sha256,
        images=tuple(digests),
        skipped=tuple(skipped),
        notes=tuple(f"{count} images: {note}" for note, count in notes.items()),
    )
    if not index or len(skipped) > max_bad * len(items):
        first = skipped[0]
        raise TooManyBad(
            f"{first.path}: {first.reason}; {len(skipped)} of {len(items)} images are unusable, "
            f"allowed are {max_bad:.3g} of all; mend or remove them, or raise --max-bad",
            features,
        )
    return features


def duplicates(features: Features) -> int:
    """How many images have the bytes of another image of the set."""
    return len(features.images) - len(set(features.images))


def leaks(query: Features, gallery: Features) -> int:
    """How many queries lie byte for byte in the gallery where the protocol does not drop them.

    A copy with the query's own person and camera is dropped with the same-camera rule: Occluded-Duke has 1,870 such by design.
    """
    places: dict[str, set[tuple[int, int]]] = {}
    for digest, pid, camid in zip(gallery.images, gallery.pids.tolist(), gallery.camids.tolist()):
        places.setdefault(digest, set()).add((pid, camid))
    own = zip(query.images, query.pids.tolist(), query.camids.tolist())
    return sum(bool(places.get(digest, set()) - {(pid, camid)}) for digest, pid, camid in own)


def _run(
    artifact: Artifact,
    items: Sequence[ImageItem],
    crops: Sequence[_Crop],
    camera_ids: NDArray[np.int64] | None,
    batch: int,
) -> tuple[NDArray[np.float32], int]:
    """Features (len(crops), D), and the batch that fitted."""
    images = to_input(np.stack([crop.pixels for crop in crops]), artifact.spec)
    index = np.array([crop.index for crop in crops])
    ids = None if camera_ids is None else camera_ids[index]
    try:
        return _halving(artifact.run, images, ids, batch)
    except NonFiniteFeatures as error:
        path = items[crops[error.rows[0]].index].path
        raise NonFiniteFeatures(f"{path}: {error}; export the model again", error.rows) from None


def _halving(
    run: Session, images: NDArray[np.generic], ids: NDArray[np.int64] | None, batch: int
) -> tuple[NDArray[np.float32], int]:
    """Features of all images, and the batch that fitted; NonFiniteFeatures' rows count from the first."""
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


def _crops(
    items: Sequence[ImageItem], spec: InputSpec, *, workers: int | None, window: int
) -> Iterator[_Crop | Skipped]:
    """Decoded, resized crops in the order of the items, at most `window` of them ahead of the reader."""
    threads = workers or min(4, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    pending: deque[Future[_Crop | Skipped]] = deque()
    ahead = iter(range(len(items)))
    try:
        while True:
            while len(pending) < window and (index := next(ahead, None)) is not None:
                pending.append(pool.submit(_load, index, items[index].path, spec))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _load(index: int, path: str, spec: InputSpec) -> _Crop | Skipped:
    digest = None
    try:
        data = read_bytes(path)
        digest = hashlib.sha256(data).hexdigest()
        decoded = decode(data)
    except DataError as error:
        return Skipped(path, str(error), digest)
    return _Crop(index, resize(decoded.pixels, spec), digest, decoded.notes)
