"""Images in, features out: decoding overlaps inference in bounded memory. Knows no data set and no backend."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.errors import DataError, NonFiniteFeatures, OutOfMemory
from runtime.features import Features
from runtime.images.decode import decode, read_bytes
from runtime.images.preprocess import resize, to_input
from runtime.images.skipped import Skipped
from runtime.session import Session
from runtime.spec import InputSpec
from runtime.stopping import Stopped, stopped

# A feature shorter than this has no direction worth ranking by (an all-zero output).
MIN_NORM = 1e-6
# Chunks that may be decoded or being decoded while the model runs on another.
AHEAD = 2


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


class Unfinished(Stopped):
    """A signal stopped the extraction. `features` holds those of the images that were done, out of `asked`."""

    def __init__(self, number: int, features: Features, asked: int) -> None:
        super().__init__(number)
        self.features = features
        self.asked = asked


@dataclass(frozen=True)
class Flow:
    """How images come to a model: `batch` a run, decoded by `workers` threads (None: up to 4)."""

    batch: int = 16
    workers: int | None = None
    ahead: int = AHEAD


@dataclass(frozen=True)
class Part:
    """What became of some images, by their places among the items.

    `features` (n, D) float32, L2-normalised, are those of `index`, `images` the sha256 of their files and `notes` what was
    done to read them; `skipped` are the others.
    """

    index: tuple[int, ...]
    features: NDArray[np.float32]
    images: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...]
    skipped: tuple[tuple[int, Skipped], ...]


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

    `camera_ids` (N,) is `runtime.datasets.cameras.camera_ids`' answer for the items. `workers` threads decode while
    the model runs; at most two batches of crops wait. When the device runs out of memory the batch is halved
    down to 1. `progress` is told how many images each step finished. TooManyBad (a DataError) when more than
    `max_bad` of all were unusable, or every one; NonFiniteFeatures names the first image whose features are
    not numbers. A signal raises Unfinished, with what was done.
    """
    flow = Flow(batch, workers)
    found = parts(artifact, items, chunks(len(items), batch), flow=flow, camera_ids=camera_ids)
    return collect(artifact, items, found, max_bad=max_bad, progress=progress)


def chunks(count: int, size: int) -> Iterator[range]:
    """The places 0 to `count` in pieces of `size`; each is one batch, whoever runs it."""
    return (range(at, min(at + size, count)) for at in range(0, count, size))


def parts(
    artifact: Artifact,
    items: Sequence[ImageItem],
    places: Iterable[range],
    *,
    flow: Flow,
    camera_ids: NDArray[np.int64] | None = None,
) -> Generator[Part, None, None]:
    """One Part for each of `places`, in their order; at most `flow.ahead` further ones are decoded in the meantime."""
    batch = flow.batch
    for found in _decoded(items, places, artifact.spec, flow):
        skipped = [(index, crop) for index, crop in found if isinstance(crop, Skipped)]
        crops = [crop for _, crop in found if isinstance(crop, _Crop)]
        features = np.empty((0, artifact.dim), np.float32)
        if crops:
            # An image that cannot be used leaves its place to a copy of another: backends are slow at every new batch size.
            whole = crops + crops[-1:] * len(skipped)
            features, batch = _run(artifact, items, whole, camera_ids, batch)
            features = features[: len(crops)]
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        sound = np.flatnonzero(norms >= MIN_NORM)
        zero = (crops[row] for row in np.flatnonzero(norms < MIN_NORM))
        skipped += [
            (crop.index, Skipped(items[crop.index].path, "its feature is zero", crop.sha256)) for crop in zero
        ]
        kept = [crops[row] for row in sound]
        yield Part(
            index=tuple(crop.index for crop in kept),
            features=features[sound] / norms[sound],
            images=tuple(crop.sha256 for crop in kept),
            notes=tuple(crop.notes for crop in kept),
            skipped=tuple(skipped),
        )


def collect(
    artifact: Artifact,
    items: Sequence[ImageItem],
    found: Generator[Part, None, None],
    *,
    max_bad: float,
    progress: Callable[[int], None],
) -> Features:
    """The parts, which may come in any order, as the features of the items in theirs; errors as `extract` says."""
    if not items:
        raise DataError("no images to extract; check the folder or list that you gave")
    # Filled in place: the features of a large gallery exist once, not as a list and its copy.
    table = np.empty((len(items), artifact.dim), np.float32)
    digests: dict[int, str] = {}
    notes: dict[int, tuple[str, ...]] = {}
    bad: dict[int, Skipped] = {}
    stop: Stopped | None = None
    try:
        with closing(found):
            for part in found:
                table[list(part.index)] = part.features
                digests.update(zip(part.index, part.images))
                notes.update((place, said) for place, said in zip(part.index, part.notes) if said)
                bad.update(part.skipped)
                progress(len(part.index) + len(part.skipped))
    except KeyboardInterrupt as error:
        stop = stopped(error)
    index, skipped = sorted(digests), tuple(bad[place] for place in sorted(bad))
    for row, place in enumerate(index):
        if row != place:
            table[row] = table[place]
    counted = Counter(note for place in sorted(notes) for note in notes[place])
    features = Features(
        features=table[: len(index)],
        paths=tuple(items[i].path for i in index),
        pids=np.array([items[i].pid for i in index], np.int64),
        camids=np.array([items[i].camid for i in index], np.int64),
        model=artifact.sha256,
        images=tuple(digests[i] for i in index),
        backend=artifact.backend,
        skipped=skipped,
        notes=tuple(f"{count} images: {note}" for note, count in counted.items()),
    )
    if stop is not None:
        raise Unfinished(stop.number, features, len(items))
    if not index or len(skipped) > max_bad * len(items):
        first = skipped[0]
        allowed = f"allowed are {max_bad:.3g} of all; mend or remove them" if index else "give others"
        raise TooManyBad(
            f"{first.path}: {first.reason}; {len(skipped)} of {len(items)} images are unusable, {allowed}",
            features,
        )
    return features


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
        return run_halving(artifact.run, images, ids, batch)
    except NonFiniteFeatures as error:
        path = items[crops[error.rows[0]].index].path
        raise NonFiniteFeatures(f"{path}: {error}; export the model again", error.rows) from None


def run_halving(
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


def _decoded(
    items: Sequence[ImageItem], places: Iterable[range], spec: InputSpec, flow: Flow
) -> Iterator[list[tuple[int, _Crop | Skipped]]]:
    """Each of the places decoded and resized, at most `flow.ahead` of them ahead of the reader."""
    pool = ThreadPoolExecutor(flow.workers or min(4, os.cpu_count() or 1), thread_name_prefix="decode")
    pending: deque[list[tuple[int, Future[_Crop | Skipped]]]] = deque()
    coming = iter(places)
    try:
        while True:
            while len(pending) <= flow.ahead and (chunk := next(coming, None)) is not None:
                pending.append([(i, pool.submit(_load, i, items[i].path, spec)) for i in chunk])
            if not pending:
                return
            yield [(index, future.result()) for index, future in pending.popleft()]
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
