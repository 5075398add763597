"""The public API of a gallery: `open_gallery` opens a folder, and the `Gallery` adds, searches and deletes features."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ConfigError, DataError
from runtime.features import Features
from runtime.gallery.calibrations import Calibration, CalibrationCache, judged
from runtime.gallery.columns import Columns, columns_of
from runtime.gallery.labelling import known_name, rows_of, whole_path
from runtime.gallery.lookup.filters import ALL, Filters, Search
from runtime.gallery.lookup.indexed import Coverage
from runtime.gallery.lookup.recall import RECALL, Recall
from runtime.gallery.lookup.searching import GalleryHit
from runtime.gallery.places import open_storage
from runtime.gallery.space import Space, space_of
from runtime.gallery.storage import Storage
from runtime.gallery.store.adding import Added
from runtime.gallery.store.compacting import Compacted
from runtime.gallery.store.contents import Info
from runtime.gallery.store.erasing import Selection
from runtime.gallery.store.rows import Row
from runtime.gallery.store.schema import SEGMENT_ROWS
from runtime.gallery.store.verifying import Verified
from runtime.gallery.times import MILLION, Time, microseconds
from runtime.model import Model
from runtime.options.store_place import ServerAddress, store_place


def open_gallery(
    path: Path | str | ServerAddress,
    *,
    model: Model | None = None,
    camera: str | int | None = None,
    dataset: str | None = None,
    space: Space | None = None,
    segment_rows: int = SEGMENT_ROWS,
) -> Gallery:
    """Open the gallery at `path`: a folder, or the address of a PostgreSQL server ("postgresql://USER@HOST/DATABASE").

    With a `model`, a gallery that does not exist yet is created for its features. `space` says in place of a model which features
    these are (`runtime.gallery.space.space_of_features`).

    `camera` is the camera policy of the features ("input", "mean", "none" or a camera id); None is the model's default for
    images of the data set with the name `dataset` (None: of another one). In a folder, a file holds the features of `segment_rows`
    rows, which is fixed when the gallery is created. Close the gallery after use, or use it in a `with` block.

    Raises ArtifactError if the gallery holds features of another embedding space (another model, width, camera policy or resize),
    DataError if there is no gallery and no model, and StorageError if the gallery is damaged or cannot be read.
    """
    if model is not None:
        space = space_of(model.artifact, camera, dataset)
    return Gallery(open_storage(store_place(path), space, segment_rows=segment_rows))


class Gallery:
    """An opened gallery. Its methods can be called from several threads, and other processes can use the same gallery.

    `store` is where its rows are.
    """

    def __init__(self, store: Storage) -> None:
        """Wrap an opened storage; call `open_gallery` instead."""
        self.store = store
        self._calibrations = CalibrationCache(store)

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.count()

    @property
    def space(self) -> Space:
        """The embedding space of the stored features."""
        return self.store.space

    def close(self) -> None:
        """Close the files of the gallery."""
        self.store.close()

    def add(
        self,
        features: NDArray[np.float32] | Features,
        *,
        cameras: Sequence[int | None] | None = None,
        times: Sequence[Time | None] | None = None,
        tracks: Sequence[object] | None = None,
        persons: Sequence[object] | None = None,
        start: Time | None = None,
    ) -> Added:
        """Add features; on return, they are on the disk. Features that are stored already change nothing.

        `features` is (N, D) float32, L2-normalised, or the `Features` of image files, whose paths, people and cameras are then stored
        unless given here. `cameras` are 0-based numbers, `times` as in `runtime.gallery.times.microseconds`, and `tracks` and
        `persons` names or numbers; each has N entries, of which None (and a number below 0) is unknown. A feature from an array is
        identified by its numbers, camera, time and track, and one from a file by the bytes of the file. `start` is when the video of
        `Features` of a video began; without it, only their clock times are stored, not the times within a video.

        Raises DataError for features or labels of another shape or length, ArtifactError for `Features` of another embedding space,
        and StorageError when the disk fails or is full; then none of these features is stored.
        """
        rows = rows_of(
            self.space, features, cameras=cameras, times=times, tracks=tracks, persons=persons, start=start
        )
        array = features.features if isinstance(features, Features) else np.asarray(features)
        return self.store.add(rows, array, ())

    def add_rows(
        self, rows: Sequence[Row], features: NDArray[np.float32], thumbnails: Sequence[bytes] = ()
    ) -> Added:
        """Add features (N, D) with the rows that describe them, and perhaps N thumbnails (JPEG files). Otherwise as `add`."""
        return self.store.add(rows, features, thumbnails)

    def search(
        self,
        features: NDArray[np.float32],
        *,
        top: int = 10,
        cameras: Sequence[int] | None = None,
        since: Time | None = None,
        until: Time | None = None,
        rerank: bool = False,
        index: bool = False,
        query_cameras: Sequence[int | None] | None = None,
    ) -> list[GalleryHit]:
        """Return the `top` nearest rows of each query, nearest first, one query after the other.

        `features` is (Q, D) or (D,) float32, L2-normalised. `cameras`, `since` (inclusive) and `until` (exclusive) leave only rows of
        these cameras and times; a row without a camera or a time is left out by the filter of it. Every remaining row is compared;
        with `index`, only the candidates that the index of `build_index` finds, where there is one. With `rerank`, the nearest 200
        rows of each query (`top`, if that is more) are ordered anew by the neighbours that they share with it; the distances are then
        no cosine distances, depend on the other rows, and have no verdict.

        The calibrations of the gallery are applied: `query_cameras` (Q,) are the cameras of the queries, 0-based (None: unknown), of
        which a site calibration subtracts the means, and a threshold gives each hit a verdict (`accepted`).

        Raises ConfigError or DataError for a wrong argument, and StorageError for a damaged row.
        """
        filters = Filters(
            None if cameras is None else tuple(cameras),
            None if since is None else microseconds(since, "since"),
            None if until is None else microseconds(until, "until"),
        )
        return self.find(features, Search(filters, top, rerank, index), query_cameras)

    def find(
        self,
        features: NDArray[np.float32],
        search: Search,
        query_cameras: Sequence[int | None] | None = None,
    ) -> list[GalleryHit]:
        """Do what `search` does, with its options as one object."""
        query = np.atleast_2d(np.asarray(features, np.float32))
        if query.ndim != 2 or query.shape[1] != self.space.dim:
            raise DataError(
                f"a query has the shape {np.shape(features)}, but this gallery has features of {self.space.dim} numbers; use its model"
            )
        if query_cameras is not None and len(query_cameras) != len(query):
            raise DataError(
                f"query_cameras has {len(query_cameras)} entries for {len(query)} queries; give one for each"
            )
        if search.top < 1:
            raise ConfigError(f"top={search.top}: give 1 or more")
        known = (
            [-1] * len(query)
            if query_cameras is None
            else [-1 if c is None else int(c) for c in query_cameras]
        )
        calibration = self.calibration
        if calibration.site is not None:
            query = calibration.site.apply(query, np.array(known, np.int64))
        hits = self.store.find(query, search, calibration.site)
        return hits if search.rerank else judged(hits, calibration)

    @property
    def calibration(self) -> Calibration:
        """The calibrations that a search applies."""
        return self._calibrations.current()

    def delete(
        self,
        *,
        person: object | None = None,
        image: str | os.PathLike[str] | None = None,
        id: int | None = None,
        camera: int | None = None,
        before: Time | None = None,
    ) -> int:
        """Delete the rows that fit everything that is given, and return their number. On return, no file holds their bytes.

        `image` is the path or the sha256 of an image. The calibration crops of the deleted images are erased as well. Raises
        ConfigError if nothing is given. What the disk itself keeps, such as spare blocks of an SSD and snapshots of a file system, is
        out of reach: keep the gallery on an encrypted disk. docs/scale.md lists what a server keeps beside its tables.
        """
        selection = Selection(
            None if person is None else str(person),
            None if image is None else whole_path(os.fspath(image)),
            id,
            camera,
            None if before is None else microseconds(before, "before"),
        )
        return self.store.delete(selection)

    def expire(self, older_us: int) -> int:
        """Delete the rows whose time is more than `older_us` microseconds before now, and return their number.

        A row without a time does not expire.
        """
        return self.store.delete(Selection(before_us=round(time.time() * MILLION) - older_us))

    def verify(self) -> Verified:
        """Read every row and feature, and compare them with their checksums. Changes nothing."""
        return self.store.verify()

    def compact(self) -> Compacted:
        """Rewrite the features without the space of deleted rows. Needs free space for a second copy of them."""
        return self.store.compact()

    def coverage(self) -> Coverage:
        """Return how many rows the index covers that a search with `index` would use."""
        return self.store.coverage()

    def build_index(self, *, recall: float = RECALL) -> Recall:
        """Index all rows, and judge the search with the index by its recall.

        In a folder, the index is a cache of codes beside the features, and needs the extra `index`. Rows that are added later are
        searched exactly, and a deletion removes the codes of its segment, until this is called again. On a server, it is an HNSW
        index: rows that are added later are in it, and a deletion drops it. Raises GateError, and removes the index, if the search
        with it finds less than the share `recall` of the same-person hits of the exact search.
        """
        return self.store.build_index(recall, self.calibration.site)

    def rows(self, ids: Sequence[int]) -> tuple[list[Row], NDArray[np.float32]]:
        """Return the rows with these ids, in their order, and their features (N, D).

        Raises DataError for an id that does not exist.
        """
        return self.store.rows(ids)

    def set_person(self, id: int, person: object | None) -> Row:
        """Change the person of a row, a name or a number; None for unknown. Returns the row, which is then on the disk.

        Raises DataError for an id that does not exist. The next deletion erases the earlier name from the files.
        """
        (row,) = self.set_persons([id], person)
        return row

    def set_persons(self, ids: Sequence[int], person: object | None) -> list[Row]:
        """Change the person of several rows, all or none, and return the rows. Otherwise as `set_person`."""
        return self.store.set_persons(ids, known_name(person))

    def known(self, images: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, Row]]:
        """Return {(sha256, source): (id, row)} for those of the `images`, pairs of sha256 and source, that are stored."""
        return self.store.known(images)

    def ids(
        self,
        filters: Filters = ALL,
        *,
        person: object | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[int]:
        """Return the ids of the rows that the filters leave, in the order of adding.

        Only those of the `person` (None: of all), above the id `after`, and at most `limit` of them (None: all).
        """
        return self.store.ids(filters, person=known_name(person), after=after, limit=limit)

    def count(self, filters: Filters = ALL) -> int:
        """Return the number of the rows that the filters leave."""
        return self.store.count(filters)

    def info(self) -> Info:
        """Return the counts, the times and the sizes of the gallery."""
        return self.store.info()

    def columns(self) -> Columns:
        """Return the labels of all rows as arrays."""
        return columns_of(self.store.labels())

    def thumbnail(self, id: int) -> bytes | None:
        """Return the thumbnail of a row, a JPEG file, or None if it has none."""
        return self.store.thumbnails([id]).get(id)
