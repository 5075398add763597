"""The bytes that a PostgreSQL server on this machine has on the disk."""

from __future__ import annotations

import re
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
    """Return the bytes of the files of the `tables` and of the write-ahead `log`, as they are on the disk now.

    `orphans` are files that no table owns: a server that crashes while it rewrites a table leaves them, and never removes them.
    """
    with connected(address) as db:
        (folder,) = db.execute("SHOW data_directory").fetchone()
        (number,) = db.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
        owned = {str(name) for (name,) in db.execute("SELECT pg_relation_filenode(oid) FROM pg_class")}
    parts: dict[str, list[bytes]] = {"tables": [], "orphans": [], "log": []}
    for path in sorted((Path(folder) / "base" / str(number)).iterdir()):
        name = re.split("[._]", path.name)[0]
        parts["orphans" if name.isdigit() and name not in owned else "tables"].append(path.read_bytes())
    parts["log"] = [
        path.read_bytes() for path in sorted((Path(folder) / "pg_wal").rglob("*")) if path.is_file()
    ]
    return {name: b"".join(some) for name, some in parts.items()}
