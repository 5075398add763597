"""Connect to PostgreSQL by psycopg, and turn its errors into one line without a password.

A device may do without psycopg, so it is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.library import Library, importing
from runtime.errors import ConfigError, DataError, StorageError
from runtime.options.store_place import ServerAddress

LIBRARY = Library(
    "psycopg", "pip install '.[postgres]'", "pip install --force-reinstall --no-deps 'psycopg[binary]'"
)
# A server that cannot be reached is given up after so many seconds, also in the middle of a command.
PATIENCE_S = 30
# Options of a connection that an address can change.
DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 1000 * PATIENCE_S,
    "application_name": "reid-gallery",
}
# A commit waits for the server's disk, and no statement waits for ever for another client.
SETTINGS = (
    "synchronous_commit = on",
    f"lock_timeout = '{PATIENCE_S}s'",
    "idle_in_transaction_session_timeout = '10min'",
)
# The bytes in front of the numbers of a vector: its width and 0, two bytes each, and the kind of the numbers.
HEAD, NUMBER = np.dtype([("dim", ">i2"), ("unused", ">i2")]), np.dtype(">f4")


class Feature(bytes):
    """A feature as the server's type `vector` in binary form."""


def feature_bytes(features: NDArray[np.float32]) -> list[Feature]:
    """Return features (N, D) as values for the server."""
    count, dim = features.shape
    table = np.zeros(count, np.dtype([("head", HEAD), ("numbers", NUMBER, (dim,))]))
    table["head"]["dim"], table["numbers"] = dim, features
    data = table.tobytes()
    return [Feature(data[at : at + table.itemsize]) for at in range(0, len(data), table.itemsize)]


def feature_of(value: bytes) -> NDArray[np.float32]:
    """Return the numbers (D,) of a value that the server sent."""
    return np.frombuffer(value, NUMBER, offset=HEAD.itemsize).astype(np.float32)


def connect(address: ServerAddress) -> Any:
    """Return a connection in which every statement is a transaction of its own, unless one is begun.

    Raises DeviceError if psycopg is missing, ConfigError for an address that cannot be read, and StorageError if the server cannot
    be reached or refuses.
    """
    psycopg = _psycopg()
    try:
        given = psycopg.conninfo.conninfo_to_dict(address.url)
        # the library reads numbers only when it connects
        [int(port) for port in str(given.get("port", "")).split(",") if port]
    except (psycopg.Error, ValueError):
        # the text of this error may hold a part of the password
        raise ConfigError(
            f"{address}: no address of a server; give postgresql://USER@HOST:PORT/DATABASE, and the password in PGPASSWORD or "
            "~/.pgpass"
        ) from None
    with reported(address):
        db = psycopg.connect(**(DEFAULTS | given), autocommit=True)
        for setting in SETTINGS:
            db.execute(f"SET {setting}")
    return db


def know_vectors(db: Any) -> bool:
    """Teach the connection the type `vector`. Returns False if the server's database does not have it."""
    psycopg = _psycopg()
    kind = psycopg.types.TypeInfo.fetch(db, "vector")
    if kind is None:
        return False

    class Dumper(psycopg.adapt.Dumper):  # type: ignore[misc, name-defined, unused-ignore]
        format = psycopg.pq.Format.BINARY
        oid = kind.oid

        def dump(self, value: Feature) -> bytes:
            return value

    kind.register(db)
    db.adapters.register_dumper(Feature, Dumper)
    return True


@contextmanager
def reported(address: ServerAddress) -> Iterator[None]:
    """Raise StorageError in place of the errors of the server and the connection, and DataError for values that it cannot hold."""
    psycopg = _psycopg()
    try:
        yield
    except (psycopg.errors.NumericValueOutOfRange, OverflowError):
        raise ConfigError(f"{address}: a number of more than 64 bits was given; give a smaller one") from None
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise DataError(
            f"{address}: PostgreSQL cannot hold a name that was given ({_line(error)}); use plain text"
        ) from None
    except psycopg.Error as error:
        # `from None`: the libraries below know the password, and their traceback may show it
        raise StorageError(f"{address}: {_line(error)}; {_advice(psycopg, error)}") from None


def _line(error: BaseException) -> str:
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return " ".join((primary or str(error)).split()).rstrip(".")


def _advice(psycopg: Any, error: Any) -> str:
    text, state = _line(error).lower(), error.sqlstate or ""
    if state.startswith("28") or "password" in text or "authentication" in text:
        return "set the password in PGPASSWORD or in ~/.pgpass, and check the user"
    if state == "3D000" or ('database "' in text and "does not exist" in text):
        return "create the database first: createdb NAME"
    if state.startswith("53") or "no space" in text:
        return "give the server some space and run the same command again; nothing that was stored is lost"
    if state in ("55P03", "40P01"):
        return "another client is using the gallery; wait, then run the same command again"
    if state == "42501":
        return "grant the user this right, or use another user"
    if state.startswith("XX"):
        return "a file of the server is damaged; restore a backup"
    if isinstance(error, psycopg.OperationalError):
        return "the connection failed; when the server can be reached, run the same command again: what was stored is not stored twice"
    return "check the log of the server and run the same command again; nothing that was stored is lost"


def _psycopg() -> Any:
    with importing(LIBRARY, needs=("connect", "conninfo")):
        import psycopg
        import psycopg.conninfo
        import psycopg.types
    return psycopg
