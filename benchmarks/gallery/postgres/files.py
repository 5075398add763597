"""The bytes that a PostgreSQL server on this machine has on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.options.store_place import ServerAddress


def connected(address: ServerAddress) -> Any:
    """Return a connection to the server of an address."""
    import psycopg

    return psycopg.connect(address.url, autocommit=True)


def flush(address: ServerAddress) -> None:
    """Let the server write everything to its files."""
    with connected(address) as db:
        db.execute("CHECKPOINT")


def server_bytes(address: ServerAddress) -> dict[str, bytes]:
    """Return the bytes of the files of the `database` and of the write-ahead `log`, as they are on the disk now."""
    with connected(address) as db:
        (folder,) = db.execute("SHOW data_directory").fetchone()
        (number,) = db.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    places = {"database": Path(folder) / "base" / str(number), "log": Path(folder) / "pg_wal"}
    return {
        name: b"".join(path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file())
        for name, place in places.items()
    }
