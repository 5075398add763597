"""Extract the features of image files. While the model runs, threads decode a limited number of the next images."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.errors import DataError
from runtime.extraction.parts import Crop, ImageItem, Part, crop_parts
from runtime.features import Features
from runtime.images.decode import decode, read_bytes
from runtime.images.preprocess import resize
from runtime.images.skipped import Skipped
from runtime.spec import InputSpec
from runtime.stopping import Stopped, stopped

# The number of batches that may be decoded in advance while the model runs on the current one.
AHEAD = 2


class TooManyBad(DataError):
    """More images than allowed are unusable. `features` are those of the usable images, so that no work is lost. Exit code 3."""

    def __init__(self, text: str, features: Features) -> None:
        super().__init__(text)
        self.features = features


class Unfinished(Stopped):
    """A signal stopped the extraction. `features` are those of the finished images; `total` is the number of all images."""

    def __init__(self, number: int, features: Features, total: int) -> None:
        super().__init__(number)
        self.features = features
        self.total = total


@dataclass(frozen=True)
class Flow:
    """The settings for batches and decoding.

    `batch` is the number of images per run of the model. `workers` is the number of decoding threads (None: up to 4). `ahead` is how
    many batches may be decoded in advance while the model runs on the current one. With `pad`, copies of the last image fill a
    smaller batch, because features can differ in the last bits between batch sizes.
    """

    batch: int = 16
    workers: int | None = None
    ahead: int = AHEAD
    pad: bool = False


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
    """Return the features of the usable images among `items`, in the order of the items; `.skipped` lists the unusable ones.

    `batch` is the number of images per run; if the device runs out of memory, it is halved, down to 1. While the model runs, `workers`
    threads (None: up to 4) decode at most two batches in advance. `camera_ids` (N,) is the model's camera input for the items, from
    `runtime.datasets.cameras.camera_ids`; None for a model without one. `progress` is called after each batch with its number of
    images.

    Raises TooManyBad (a DataError) when more than the fraction `max_bad` of all images is unusable, or when every image is. Raises
    NonFiniteFeatures with the name of the first image whose features are NaN or infinite. Raises Unfinished, with the features of
    the finished images, when a signal stops the extraction.
    """
    flow = Flow(batch, workers)
    results = parts(artifact, items, chunks(len(items), batch), flow=flow, camera_ids=camera_ids)
    return collect(artifact, items, results, max_bad=max_bad, progress=progress)


def chunks(count: int, size: int) -> Iterator[range]:
    """Yield the positions 0 to `count` - 1 as ranges of at most `size` positions; each range is one batch of the model."""
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def parts(
    artifact: Artifact,
    items: Sequence[ImageItem],
    positions: Iterable[range],
    *,
    flow: Flow,
    camera_ids: NDArray[np.int64] | None = None,
) -> Generator[Part, None, None]:
    """Yield one Part for each range of indices of `items` in `positions`. `camera_ids` and the errors are as in `extract`."""
    with closing(_decoded(items, positions, artifact.spec, flow)) as decoded:
        yield from crop_parts(artifact, items, decoded, batch=flow.batch, camera_ids=camera_ids, pad=flow.pad)


def collect(
    artifact: Artifact,
    items: Sequence[ImageItem],
    results: Generator[Part, None, None],
    *,
    max_bad: float,
    progress: Callable[[int], None],
    noun: str = "images",
) -> Features:
    """Return one Features object with the features of all Parts in `results`, in the order of `items`.

    The Parts may come in any order. `max_bad` and `progress` are as in `extract`. `noun` names the items in messages. Raises the
    errors of `extract`.
    """
    if not items:
        raise DataError(f"there are no {noun} to extract; check the given folder or list")
    # All features go into one array, so that memory holds the features of a large gallery only once.
    table = np.empty((len(items), artifact.dim), np.float32)
    digests: dict[int, str] = {}
    notes: dict[int, tuple[str, ...]] = {}
    bad: dict[int, Skipped] = {}
    stop: Stopped | None = None
    try:
        with closing(results):
            for part in results:
                table[list(part.positions)] = part.features
                digests.update(zip(part.positions, part.images))
                notes.update((at, texts) for at, texts in zip(part.positions, part.notes) if texts)
                bad.update(part.skipped)
                progress(len(part.positions) + len(part.skipped))
    except KeyboardInterrupt as error:
        stop = stopped(error)
    usable, skipped = sorted(digests), tuple(bad[position] for position in sorted(bad))
    for row, position in enumerate(usable):
        if row != position:
            table[row] = table[position]
    note_counts = Counter(note for position in sorted(notes) for note in notes[position])
    features = Features(
        features=table[: len(usable)],
        paths=tuple(items[i].path for i in usable),
        pids=np.array([items[i].pid for i in usable], np.int64),
        camids=np.array([items[i].camid for i in usable], np.int64),
        model=artifact.sha256,
        images=tuple(digests[i] for i in usable) if any(digests.values()) else (),
        backend=artifact.backend,
        projection=artifact.projection,
        skipped=skipped,
        notes=tuple(f"{count} {noun}: {note}" for note, count in note_counts.items()),
    )
    if stop is not None:
        raise Unfinished(stop.number, features, len(items))
    if not usable or len(skipped) > max_bad * len(items):
        first = skipped[0]
        allowed = (
            f"but the allowed fraction is {max_bad:.3g}; repair or remove them"
            if usable
            else f"so give other {noun}"
        )
        raise TooManyBad(
            f"{first.path}: {first.reason}; {len(skipped)} of {len(items)} {noun} are unusable, {allowed}",
            features,
        )
    return features


def _decoded(
    items: Sequence[ImageItem], positions: Iterable[range], spec: InputSpec, flow: Flow
) -> Generator[list[tuple[int, Crop | Skipped]], None, None]:
    """Yield the decoded and resized crops of each chunk, and decode at most `flow.ahead` further chunks in advance."""
    pool = ThreadPoolExecutor(flow.workers or min(4, os.cpu_count() or 1), thread_name_prefix="decode")
    pending: deque[list[tuple[int, Future[Crop | Skipped]]]] = deque()
    remaining = iter(positions)
    try:
        while True:
            while len(pending) <= flow.ahead and (chunk := next(remaining, None)) is not None:
                pending.append([(i, pool.submit(_load, i, items[i].path, spec)) for i in chunk])
            if not pending:
                return
            yield [(position, future.result()) for position, future in pending.popleft()]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _load(position: int, path: str, spec: InputSpec) -> Crop | Skipped:
    digest = None
    try:
        data = read_bytes(path)
        digest = hashlib.sha256(data).hexdigest()
        decoded = decode(data)
    except DataError as error:
        return Skipped(path, str(error), digest)
    return Crop(position, resize(decoded.pixels, spec), digest, decoded.notes)
