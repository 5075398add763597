"""`ServerStorage`: a gallery on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.lookup.filters import Filters, Search
from runtime.gallery.lookup.indexed import Coverage
from runtime.gallery.lookup.recall import Recall
from runtime.gallery.lookup.searching import GalleryHit
from runtime.gallery.postgres import erasing, rows, searching, upkeep, writing
from runtime.gallery.postgres.server import Server
from runtime.gallery.space import Space
from runtime.gallery.store.adding import Added
from runtime.gallery.store.compacting import Compacted
from runtime.gallery.store.contents import Info
from runtime.gallery.store.erasing import Selection
from runtime.gallery.store.reading import CalibrationRecord
from runtime.gallery.store.rows import Row
from runtime.gallery.store.verifying import Verified
from runtime.options.store_place import ServerAddress
from runtime.ranking.site import SiteMeans


def open_server(address: ServerAddress, space: Space | None = None) -> ServerStorage:
    """Open the gallery at the address; with a `space`, it is created if the database has none yet.

    Raises DeviceError if psycopg is not installed, ConfigError for an address that cannot be read, DataError if there is no gallery,
    ArtifactError if it holds features of another space, and StorageError if the server cannot be reached or used.
    """
    return ServerStorage(Server(address, space))


class ServerStorage:
    """The storage on a server. See `runtime.gallery.storage.Storage`."""

    def __init__(self, server: Server) -> None:
        """Wrap a connection; call `open_server` instead."""
        self.server = server
        self._wiped = False

    @property
    def place(self) -> str:
        """The address without its password."""
        return str(self.server.address)

    @property
    def space(self) -> Space:
        """The embedding space of the features."""
        return self.server.space

    @property
    def writable(self) -> bool:
        """Whether the server is a primary one and the user may write."""
        return self.server.writable

    def close(self) -> None:
        """Close the connection."""
        self.server.close()

    def stamp(self) -> object:
        """Return the number of changes so far."""
        with self.server.direct() as db:
            return int(db.execute("SELECT changes FROM reid_store").fetchone()[0])

    def add(self, rows: Sequence[Row], features: NDArray[np.float32], thumbnails: Sequence[bytes]) -> Added:
        """Add rows with their features."""
        self._finish()
        return writing.add_rows(self.server, rows, features, thumbnails)

    def delete(self, selection: Selection) -> int:
        """Delete the selected rows, and rewrite the tables without them."""
        self._finish()
        return erasing.delete_rows(self.server, selection)

    def set_persons(self, numbers: Sequence[int], person: str | None) -> list[Row]:
        """Change the person of rows."""
        return writing.set_persons(self.server, numbers, person)

    def rows(self, ids: Sequence[int]) -> tuple[list[Row], NDArray[np.float32]]:
        """Return rows and their features."""
        with self.server.reading() as db:
            return rows.read_rows(db, self.server, ids)

    def known(self, images: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, Row]]:
        """Return the rows of those images that are stored."""
        return rows.known_images(self.server, images)

    def ids(self, filters: Filters, *, person: str | None, after: int, limit: int | None) -> list[int]:
        """Return the ids of rows."""
        return rows.list_ids(self.server, filters, person=person, after=after, limit=limit)

    def count(self, filters: Filters) -> int:
        """Return the number of rows."""
        return rows.count_rows(self.server, filters)

    def labels(self) -> list[tuple[int, int | None, str | None, str | None]]:
        """Return the labels of every row."""
        return rows.list_labels(self.server)

    def thumbnails(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the thumbnails of rows."""
        with self.server.direct() as db:
            query = "SELECT image, jpeg FROM reid_thumbnail WHERE image = ANY(%s)"
            return {number: bytes(jpeg) for number, jpeg in db.execute(query, (list(ids),), binary=True)}

    def info(self) -> Info:
        """Return what the tables hold."""
        return upkeep.info(self.server)

    def verify(self) -> Verified:
        """Compare everything with its checksum."""
        return upkeep.verify(self.server)

    def compact(self) -> Compacted:
        """Rewrite the tables without the space of unfinished work. Adds and searches wait meanwhile."""
        erasing.wipe(self.server)
        return Compacted(rows.count_rows(self.server), 0)

    def find(self, query: NDArray[np.float32], search: Search, site: SiteMeans | None) -> list[GalleryHit]:
        """Return the hits of calibrated queries."""
        return searching.find(self.server, query, search, site)

    def coverage(self) -> Coverage:
        """Return how many rows are indexed."""
        return upkeep.coverage(self.server)

    def build_index(self, least: float, site: SiteMeans | None) -> Recall:
        """Build an index, and judge the search with it."""
        return upkeep.build_index(self.server, least, site)

    def newest_calibration(self) -> int:
        """Return the id of the newest calibration."""
        return writing.newest_calibration(self.server)

    def calibrations(self, *, newest: bool) -> list[CalibrationRecord]:
        """Return the calibrations."""
        with self.server.direct() as db:
            return writing.list_calibrations(db, newest=newest)

    def write_calibration(
        self, kind: str, record: str, crops: Sequence[tuple[Any, ...]], number: int | None = None
    ) -> int:
        """Store a calibration."""
        return writing.write_calibration(self.server, kind, record, crops, number)

    def crops(self, calibration: int) -> list[tuple[Any, ...]]:
        """Return the crops of a calibration."""
        return writing.list_crops(self.server, calibration)

    def _finish(self) -> None:
        """Finish a deletion that a crash interrupted, once."""
        if not self._wiped and self.server.writable:
            self._wiped = True
            erasing.finish_wiping(self.server)
