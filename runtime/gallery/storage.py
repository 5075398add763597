"""`Storage`: what a gallery needs from the place that keeps its rows. `local.py` keeps them in a folder, `postgres/` on a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.lookup.filters import Filters, Search
from runtime.gallery.lookup.indexed import Coverage
from runtime.gallery.lookup.recall import Recall
from runtime.gallery.lookup.searching import GalleryHit
from runtime.gallery.space import Space
from runtime.gallery.store.adding import Added
from runtime.gallery.store.compacting import Compacted
from runtime.gallery.store.contents import Info
from runtime.gallery.store.erasing import Selection
from runtime.gallery.store.reading import CalibrationRecord
from runtime.gallery.store.rows import Row
from runtime.gallery.store.verifying import Verified
from runtime.ranking.site import SiteMeans


class Storage(Protocol):
    """The rows, features and calibrations of one gallery. Methods can be called from several threads.

    When a method that writes returns, all is on the disk; when it raises, nothing. Each raises StorageError when the disk, the server
    or the connection fails. `Gallery` describes the methods that it has as well.
    """

    @property
    def place(self) -> str:
        """The folder, or the address of the server without its password, as messages name it."""

    @property
    def space(self) -> Space:
        """The embedding space of the features."""

    @property
    def writable(self) -> bool:
        """Whether rows can be added."""

    def close(self) -> None:
        """Close the files, or the connection."""

    def stamp(self) -> object:
        """Return a value that stays equal until a row is added, deleted or changed, by whichever process."""

    def add(self, rows: Sequence[Row], features: NDArray[np.float32], thumbnails: Sequence[bytes]) -> Added:
        """Add rows with their features (N, D), and N thumbnails or none."""

    def delete(self, selection: Selection) -> int:
        """Delete the selected rows and their bytes, and return their number."""

    def set_persons(self, numbers: Sequence[int], person: str | None) -> list[Row]:
        """Change the person of rows, all or none, and return the rows."""

    def rows(self, ids: Sequence[int]) -> tuple[list[Row], NDArray[np.float32]]:
        """Return the rows with these ids, and their features (N, D)."""

    def known(self, images: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, Row]]:
        """Return {(sha256, source): (id, row)} for the images that are stored."""

    def ids(self, filters: Filters, *, person: str | None, after: int, limit: int | None) -> list[int]:
        """Return the ids of rows, in the order of adding."""

    def count(self, filters: Filters) -> int:
        """Return the number of rows."""

    def labels(self) -> list[tuple[int, int | None, str | None, str | None]]:
        """Return (id, camera, person, track) of every row, in the order of adding."""

    def thumbnails(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return {id: thumbnail} for those of the rows that have one."""

    def info(self) -> Info:
        """Return the counts, the times and the sizes."""

    def verify(self) -> Verified:
        """Compare every row with its checksum."""

    def compact(self) -> Compacted:
        """Free the space of deleted rows."""

    def find(self, query: NDArray[np.float32], search: Search, site: SiteMeans | None) -> list[GalleryHit]:
        """Return the hits of the queries (Q, D), without verdicts.

        The queries are calibrated already; `site` is applied to the rows (None: rows as they are).
        """

    def coverage(self) -> Coverage:
        """Return how many rows an index covers."""

    def build_index(self, least: float, site: SiteMeans | None) -> Recall:
        """Build the index, and keep it if it finds at least the share `least` of the same-person hits."""

    def newest_calibration(self) -> int:
        """Return the id of the newest calibration, 0 without one."""

    def calibrations(self, *, newest: bool) -> list[CalibrationRecord]:
        """Return the calibrations in the order of writing; with `newest`, only the newest of each kind."""

    def write_calibration(
        self, kind: str, record: str, crops: Sequence[tuple[Any, ...]], number: int | None = None
    ) -> int:
        """Store a calibration and return its id, which is `number` unless that is None.

        `crops` are as in `runtime.gallery.calibrations.write_calibration`.
        """

    def crops(self, calibration: int) -> list[tuple[Any, ...]]:
        """Return the crops of a calibration in the order of writing, each as (person, camera, sha256, feature, image)."""
