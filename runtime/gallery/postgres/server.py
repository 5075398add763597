"""`Server`, the connection to the tables of a gallery: one thread at a time, and a new connection after one was lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runtime.errors import StorageError
from runtime.gallery.postgres.driver import connect, know_vectors, reported
from runtime.gallery.postgres.schema import open_tables
from runtime.gallery.space import Space
from runtime.options.store_place import ServerAddress
from runtime.stopping import deferred


class Server:
    """The gallery at an address. `space` is its embedding space, and `writable` is False on a replica and for a reading user."""

    def __init__(self, address: ServerAddress, space: Space | None) -> None:
        """Connect, and create or migrate the tables where that is needed. Raises the errors of `open_tables`."""
        self.address = address
        self.lock = threading.RLock()
        self._db = connect(address)
        try:
            with reported(address):
                self.space = open_tables(self._db, address, space)
                self.writable = bool(self._db.execute(WRITABLE).fetchone()[0])
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            self._db.close()

    @contextmanager
    def direct(self) -> Iterator[Any]:
        """Yield the connection, on which every statement is a transaction of its own. Raises StorageError for what fails inside."""
        with self.lock:
            db = self._connection()
            with reported(self.address):
                yield db

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Yield the connection in a transaction that sees one state and writes nothing."""
        with self.direct() as db, db.transaction():
            db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield db

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Yield the connection in a transaction while no other client writes rows or calibrations; it commits when the block ends.

        So ids grow in the order of the commits. A signal that arrives meanwhile is delayed until the block ends.
        """
        if not self.writable:
            raise StorageError(
                f"{self.address}: cannot be written; use the address of the primary server, and a user who may write"
            )
        with deferred(), self.direct() as db, db.transaction():
            db.execute("SELECT 1 FROM reid_store FOR UPDATE")
            yield db

    def _connection(self) -> Any:
        if self._db.closed:
            self._db = connect(self.address)
            with reported(self.address):
                know_vectors(self._db)
        return self._db


# Whether this user may add rows here.
WRITABLE = "SELECT NOT pg_is_in_recovery() AND has_table_privilege('reid_image', 'INSERT')"
