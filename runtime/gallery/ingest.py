"""Add image files to a gallery. The features of finished batches are stored while the model runs on the next ones."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timezone, tzinfo

import numpy as np
from numpy.typing import NDArray

from runtime.datasets import MAX_BAD, Item
from runtime.datasets.cameras import camera_ids
from runtime.errors import DataError
from runtime.extraction.parts import ImageItem
from runtime.extraction.preset import streamer
from runtime.gallery.api import Gallery
from runtime.gallery.labelling import known_camera, known_name
from runtime.gallery.lookup.filters import Search
from runtime.gallery.space import same_space, space_of
from runtime.gallery.store.adding import Added
from runtime.gallery.store.rows import Row
from runtime.gallery.times import time_in_exif, time_in_name
from runtime.images.decode import read_bytes
from runtime.images.skipped import Skipped
from runtime.images.sources import Images
from runtime.images.thumbnails import thumbnail
from runtime.model import Model
from runtime.options.cluster import Cluster

# Rows are committed when so many have come together, or so many seconds after the last commit: a commit waits for the disk twice.
ROWS, SECONDS = 1024, 0.5
HASHING_THREADS = 4
NAME, EXIF = "name", "exif"


@dataclass(frozen=True)
class Labels:
    """What is recorded with each image of an add.

    `source` names where the images come from; an image is stored once for each source. `camera`, `time_us`, `track` and `person` are
    those of all images; None takes the camera and the person from the file name. `times` says where to look for the time of an
    image, in this order: "name" and "exif". `local` is the time zone of times without one. `thumbnails` stores a small copy of each
    image, which is personal data.
    """

    source: str = ""
    camera: int | None = None
    time_us: int | None = None
    track: str | None = None
    person: str | None = None
    times: tuple[str, ...] = (NAME, EXIF)
    local: tzinfo = timezone.utc
    thumbnails: bool = False


@dataclass(frozen=True)
class Ingested:
    """What an add of image files did: the counts of `Added`, the unusable images in `skipped`, and `notes` for the user.

    `timeless` is the number of new rows without a time. If the gallery has a threshold, each batch of new images is compared with the
    rows that were stored before it: `compared` is the number of these images, and `matched` of them have a row within the threshold.
    """

    added: Added
    timeless: int = 0
    compared: int = 0
    matched: int = 0
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def add_files(
    gallery: Gallery,
    model: Model,
    images: Images,
    *,
    labels: Labels = Labels(),
    cluster: Cluster | None = None,
    camera: str | int | None = None,
    workers: int | None = None,
    max_bad: float = MAX_BAD,
    progress: Callable[[int], None] = lambda images: None,
) -> Ingested:
    """Store the features of image files in the gallery, batch by batch, and return what was done.

    An image that is stored already, by its bytes and the source, is not extracted again, so the same call resumes a stopped one. Each
    batch is filled to the same size, so the features equal those of a run without a stop, bit for bit, on the same backend with the
    same batch size. With a `cluster`, Ray extracts the images of a model that was opened with the preset "throughput", and this
    process stores them. `camera`, `workers`, `max_bad` and `progress` are as in `Model.embed_files`.

    Raises ArtifactError if the gallery holds another embedding space, DataError when too many images are unusable (the others are
    stored), StorageError when the disk fails or is full, and Stopped when a signal arrives (finished batches are stored). Raises the
    errors of `Model.embed_files` as well.
    """
    name = images.dataset_name
    same_space(gallery.space, space_of(model.artifact, camera, name), gallery.store.place)
    items = images.items
    ids, remark = camera_ids([item.camid for item in items], model.artifact.spec, policy=camera, dataset=name)
    known = _known(gallery, items, labels) if len(gallery) else {}
    total = sum(_present(known, items, labels, progress), Added(0, 0))
    missing = [place for place in range(len(items)) if place not in known]
    buffer = Buffer(gallery, labels)
    skipped: list[Skipped] = []
    counts: Counter[str] = Counter()
    if missing:
        some = [items[place] for place in missing]
        opened = streamer(
            model.artifact,
            model.preset,
            batch=model.batch,
            workers=workers,
            allow_ungated=True,
            cluster=cluster,
        )
        with opened as stream, closing(stream(some, None if ids is None else ids[missing])) as parts:
            try:
                for part in parts:
                    rows = [_row(some[at], sha, labels) for at, sha in zip(part.positions, part.images)]
                    buffer.put(rows, part.features)
                    skipped += [image for _, image in part.skipped]
                    counts.update(note for notes in part.notes for note in notes)
                    progress(len(part.positions) + len(part.skipped))
            finally:
                # also after an error or a signal: these images are done
                buffer.flush()
    notes = ((remark,) if remark else ()) + tuple(f"{count} images: {note}" for note, count in counts.items())
    if items and len(skipped) > max_bad * len(items):
        raise BadImages(
            f"{skipped[0].path}: {skipped[0].reason}; {len(skipped)} of {len(items)} images are unusable, but the allowed fraction is "
            f"{max_bad:.3g}; repair or remove them (the other images are stored)",
            tuple(skipped),
        )
    return Ingested(
        total + buffer.added,
        buffer.timeless,
        compared=buffer.compared,
        matched=buffer.matched,
        skipped=tuple(skipped),
        notes=notes,
    )


class BadImages(DataError):
    """More images than allowed are unusable; `skipped` lists them. The others are stored. Exit code 3."""

    def __init__(self, text: str, skipped: tuple[Skipped, ...]) -> None:
        super().__init__(text)
        self.skipped = skipped


def digest_files(paths: Sequence[str]) -> list[str | None]:
    """Return the sha256 of each file, or None for a file that cannot be read."""
    with ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="hash") as pool:
        return list(pool.map(_digest, paths))


def _digest(path: str) -> str | None:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except DataError:
        # its extraction fails as well, and lists it among the unusable images
        return None


def _known(gallery: Gallery, items: Sequence[ImageItem], labels: Labels) -> dict[int, Row]:
    """Return {place in `items`: stored row} for the images that are stored already."""
    digests = digest_files([item.path for item in items])
    known = gallery.known({(digest, labels.source) for digest in digests if digest})
    keys = {place: (str(digest), labels.source) for place, digest in enumerate(digests)}
    return {place: known[key][1] for place, key in keys.items() if key in known}


def _present(
    known: Mapping[int, Row], items: Sequence[Item], labels: Labels, progress: Callable[[int], None]
) -> Iterator[Added]:
    """Yield an Added for each image that is stored already."""
    for place, row in known.items():
        now = _row(items[place], row.sha256, labels)
        asked = [
            (row.camera, now.camera),
            (row.time_us, now.time_us),
            (row.track, now.track),
            (row.person, now.person),
        ]
        progress(1)
        yield Added(0, 1, int(any(new is not None and old != new for old, new in asked)))


def _row(item: ImageItem, sha256: str, labels: Labels) -> Row:
    camera = item.camid if labels.camera is None else labels.camera
    person = known_name(item.pid if item.pid > 0 else None) if labels.person is None else labels.person
    return Row(
        sha256,
        labels.source,
        known_camera(camera),
        _time(item.path, labels),
        labels.track,
        person,
        os.path.abspath(item.path),
    )


def _time(path: str, labels: Labels) -> int | None:
    if labels.time_us is not None:
        return labels.time_us
    for kind in labels.times:
        try:
            moment = (
                time_in_name(path, labels.local)
                if kind == NAME
                else time_in_exif(read_bytes(path), labels.local)
            )
        except DataError:
            # the file is gone since it was extracted: its row has no time, and `timeless` counts it
            moment = None
        if moment is not None:
            return moment
    return None


def _jpeg(row: Row) -> bytes:
    """Return the thumbnail of a row's image file, or b"" if the file has changed or is gone."""
    uri = thumbnail(row.path, row.sha256).uri
    return b"" if uri is None else base64.b64decode(uri.partition(",")[2])


@dataclass
class Buffer:
    """Rows with their features that are not committed yet."""

    gallery: Gallery
    labels: Labels
    rows: list[Row] = field(default_factory=list)
    features: list[NDArray[np.float32]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)
    added: Added = Added(0, 0)
    timeless: int = 0
    compared: int = 0
    matched: int = 0

    def put(self, rows: Sequence[Row], features: NDArray[np.float32]) -> None:
        """Keep the rows with their features (n, D), and commit all that were kept when it is time."""
        self.rows += rows
        self.features.append(features)
        if len(self.rows) >= ROWS or time.monotonic() - self.since > SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commit all rows that were kept."""
        if self.rows:
            thumbnails = [_jpeg(row) for row in self.rows] if self.labels.thumbnails else []
            features = np.concatenate(self.features)
            try:
                self._compare(features)
            finally:
                # also if the search met a damaged row
                self.added += self.gallery.add_rows(self.rows, features, thumbnails)
            self.timeless += sum(row.time_us is None for row in self.rows)
        self.rows, self.features, self.since = [], [], time.monotonic()

    def _compare(self, features: NDArray[np.float32]) -> None:
        """Count how many of the new features (n, D) have a stored row within the threshold, if there is one."""
        if self.gallery.calibration.threshold is None:
            return
        hits = self.gallery.find(features, Search(top=1), [row.camera for row in self.rows])
        self.compared += len(hits)
        self.matched += sum(bool(hit.accepted) for hit in hits)
