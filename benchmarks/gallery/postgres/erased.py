"""Delete rows in every way, and look for their bytes in the files of a server: its database, and its write-ahead log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.gallery.erased import WAYS, fill, strings_of
from benchmarks.gallery.postgres.database import Database
from benchmarks.gallery.postgres.files import flush, server_bytes
from benchmarks.gallery.rows import gallery


@dataclass(frozen=True)
class ServerErased:
    """What one way of deleting (`how`) left in the files of a server.

    `rows` rows were deleted. Of the `sought` byte strings of these rows, tables and log held `before` strings before the deletion.
    After it, the files of the tables held `in_tables` and those of the log `in_log`.
    """

    how: str
    rows: int
    sought: int
    before: int
    in_tables: int
    in_log: int


def measure_server_erased(server: Database, ways: Sequence[str] = tuple(WAYS)) -> list[ServerErased]:
    """Fill a gallery for each way of deleting, delete, and count the bytes that are left while client and server still run."""
    results = []
    for name in ways:
        delete, gone = WAYS[name]
        place = server.create(f"erased_{name}")
        with gallery(place) as store:
            fill(store)
            strings = strings_of(gone)
            flush(place)
            whole = server_bytes(place)
            before = sum(any(string in data for data in whole.values()) for string in strings)
            deleted = delete(store)
            left = server_bytes(place)
            found = [sum(string in left[part] for string in strings) for part in ("tables", "log")]
        # the next gallery has the same rows
        server.drop(f"erased_{name}")
        results.append(ServerErased(name, deleted, len(strings), before, *found))
    return results
