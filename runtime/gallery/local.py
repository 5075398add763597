"""`LocalStorage`: a gallery in a folder, with its rows in SQLite and its features in segment files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.lookup.filters import Filters, Search
from runtime.gallery.lookup.finder import Finder
from runtime.gallery.lookup.indexed import Coverage
from runtime.gallery.lookup.recall import Recall
from runtime.gallery.lookup.searching import GalleryHit
from runtime.gallery.space import Space
from runtime.gallery.store import calibrating
from runtime.gallery.store.adding import Added, add_rows
from runtime.gallery.store.compacting import Compacted, compact
from runtime.gallery.store.contents import Info, info
from runtime.gallery.store.erasing import Selection, delete_rows
from runtime.gallery.store.listing import count_rows, list_ids, list_labels
from runtime.gallery.store.reading import CalibrationRecord, known_images, stored_features
from runtime.gallery.store.relabelling import set_persons
from runtime.gallery.store.rows import Row
from runtime.gallery.store.schema import SEGMENT_ROWS
from runtime.gallery.store.store import Store, open_store
from runtime.gallery.store.verifying import Verified, verify
from runtime.ranking.site import SiteMeans


def open_local(folder: Path, space: Space | None = None, *, segment_rows: int = SEGMENT_ROWS) -> LocalStorage:
    """Open the gallery in `folder`; with a `space`, it is created if it does not exist yet. Raises the errors of `open_store`."""
    return LocalStorage(open_store(folder, space, segment_rows=segment_rows))


class LocalStorage:
    """The storage in a folder; `files` is the opened store. See `runtime.gallery.storage.Storage`."""

    def __init__(self, files: Store) -> None:
        """Wrap an opened store; call `open_local` instead."""
        self.files = files
        self._finder = Finder(files)

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.files.folder)

    @property
    def space(self) -> Space:
        """The embedding space of the features."""
        return self.files.space

    @property
    def writable(self) -> bool:
        """Whether the folder can be written."""
        return self.files.writable

    def close(self) -> None:
        """Close the files."""
        self.files.close()

    def stamp(self) -> object:
        """Return the state, which every change of a row changes."""
        with self.files.reading():
            return self.files.state()

    def add(self, rows: Sequence[Row], features: NDArray[np.float32], thumbnails: Sequence[bytes]) -> Added:
        """Add rows with their features."""
        return add_rows(self.files, rows, features, thumbnails)

    def delete(self, selection: Selection) -> int:
        """Delete the selected rows, and overwrite their bytes."""
        return delete_rows(self.files, selection)

    def set_persons(self, numbers: Sequence[int], person: str | None) -> list[Row]:
        """Change the person of rows."""
        return set_persons(self.files, numbers, person)

    def rows(self, ids: Sequence[int]) -> tuple[list[Row], NDArray[np.float32]]:
        """Return rows and their features."""

        def attempt() -> tuple[list[Row], NDArray[np.float32]]:
            with self.files.reading():
                return stored_features(self.files, self.files.segments(self.files.state().generation), ids)

        return self._finder.again(attempt)

    def known(self, images: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, Row]]:
        """Return the rows of those images that are stored."""
        return known_images(self.files, images)

    def ids(self, filters: Filters, *, person: str | None, after: int, limit: int | None) -> list[int]:
        """Return the ids of rows."""
        return list_ids(self.files, filters, person=person, after=after, limit=limit)

    def count(self, filters: Filters) -> int:
        """Return the number of rows."""
        return count_rows(self.files, filters)

    def labels(self) -> list[tuple[int, int | None, str | None, str | None]]:
        """Return the labels of every row."""
        return list_labels(self.files)

    def thumbnails(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the thumbnails of rows."""
        query = "SELECT jpeg FROM thumbnail WHERE image = ?"
        with self.files.reading() as db:
            records = ((number, db.execute(query, (number,)).fetchone()) for number in ids)
            return {number: bytes(record[0]) for number, record in records if record is not None}

    def info(self) -> Info:
        """Return what the files hold."""
        return info(self.files)

    def verify(self) -> Verified:
        """Compare everything with its checksum."""
        return verify(self.files)

    def compact(self) -> Compacted:
        """Rewrite the features without the space of deleted rows."""
        return compact(self.files)

    def find(self, query: NDArray[np.float32], search: Search, site: SiteMeans | None) -> list[GalleryHit]:
        """Return the hits of calibrated queries."""
        return self._finder.find(query, search, site)

    def coverage(self) -> Coverage:
        """Return how many rows have codes."""
        return self._finder.coverage()

    def build_index(self, least: float, site: SiteMeans | None) -> Recall:
        """Make codes, and judge the search with them."""
        return self._finder.build_index(least, site)

    def newest_calibration(self) -> int:
        """Return the id of the newest calibration."""
        return calibrating.newest_id(self.files)

    def calibrations(self, *, newest: bool) -> list[CalibrationRecord]:
        """Return the calibrations."""
        return calibrating.list_calibrations(self.files, newest=newest)

    def write_calibration(
        self, kind: str, record: str, crops: Sequence[tuple[Any, ...]], number: int | None = None
    ) -> int:
        """Store a calibration."""
        return calibrating.write(self.files, kind, record, crops, number)

    def crops(self, calibration: int) -> list[tuple[Any, ...]]:
        """Return the crops of a calibration."""
        return calibrating.list_crops(self.files, calibration)
