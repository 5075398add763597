"""The SQLite file of a gallery: its tables, and how a connection is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import ConfigError, StorageError

DATABASE = "gallery.db"
VERSION = 2
# "reid" in ASCII: tells this file from other SQLite files.
APPLICATION = 0x72656964
# Seconds that a statement waits for another process.
PATIENCE_S = 30.0
# A segment of 768 numbers a row has 201 MB.
SEGMENT_ROWS = 65_536

# The table `wipe` lists the slots of deleted rows whose features are not overwritten with zeros yet.
TABLES = """
CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    space TEXT NOT NULL,
    segment_rows INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    next_slot INTEGER NOT NULL,
    changes INTEGER NOT NULL
);
CREATE TABLE image (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 BLOB NOT NULL,
    source TEXT NOT NULL,
    camera INTEGER,
    time_us INTEGER,
    track TEXT,
    person TEXT,
    path BLOB NOT NULL,
    slot INTEGER NOT NULL UNIQUE,
    crc INTEGER NOT NULL,
    UNIQUE (sha256, source)
);
CREATE INDEX image_camera_time ON image (camera, time_us);
CREATE TABLE wipe (slot INTEGER PRIMARY KEY);
CREATE TABLE thumbnail (
    image INTEGER PRIMARY KEY REFERENCES image (id) ON DELETE CASCADE,
    jpeg BLOB NOT NULL
);
CREATE TABLE calibration (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    record TEXT NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE calibration_crop (
    id INTEGER PRIMARY KEY,
    calibration INTEGER NOT NULL REFERENCES calibration (id) ON DELETE CASCADE,
    person TEXT,
    camera INTEGER,
    sha256 BLOB NOT NULL,
    feature BLOB NOT NULL,
    image BLOB NOT NULL
);
"""
# Deleted content is overwritten with zeros, a commit waits for the disk, and nothing is written to temporary files.
PRAGMAS = ("secure_delete = ON", "synchronous = FULL", "temp_store = MEMORY", "foreign_keys = ON")


def connect(folder: Path, *, writable: bool = True) -> sqlite3.Connection:
    """Open the SQLite file in `folder`; it is created if `writable`. Transactions begin and end by statements only.

    A file on a read-only medium is opened as immutable. Raises StorageError if it has a write-ahead log then: SQLite would leave out
    the rows in it.
    """
    path = folder / DATABASE
    if writable:
        db = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
    else:
        log = folder / f"{DATABASE}-wal"
        if log.exists() and log.stat().st_size:
            raise StorageError(
                f"{folder}: rows are in {log.name}, which cannot be read without write access; make the folder writable, or copy it"
            )
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    for pragma in PRAGMAS:
        db.execute(f"PRAGMA {pragma}")
    if writable:
        # An add that was killed leaves rows in the log that were never committed. A busy gallery is left as it is.
        db.execute("PRAGMA busy_timeout = 0")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute(f"PRAGMA busy_timeout = {PATIENCE_S * 1000:.0f}")
    return db


def create_tables(db: sqlite3.Connection, space: str, segment_rows: int) -> None:
    """Create the tables of an empty gallery in one transaction."""
    with transaction(db):
        for statement in TABLES.split(";"):
            db.execute(statement)
        db.execute("INSERT INTO store VALUES (1, ?, ?, 0, 0, 0)", (space, segment_rows))
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {VERSION}")


def is_empty(db: sqlite3.Connection, folder: Path) -> bool:
    """Return whether the SQLite file has no tables yet. Raises StorageError for a file of another program or version."""
    # One statement reads one state: another process may create the tables meanwhile.
    application, version, tables = db.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if not tables and not version:
        return True
    if application != APPLICATION:
        raise StorageError(f"{folder / DATABASE}: a database of another program; name another folder")
    if version != VERSION:
        advice = "upgrade this project" if version > VERSION else "add the images to a new gallery"
        raise StorageError(
            f"{folder}: a gallery of schema {version}, but this version reads schema {VERSION}; {advice}"
        )
    return False


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block writes when it ends, all or nothing. An exception rolls it back."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # a failed COMMIT may have ended the transaction already
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def reported(folder: Path) -> Iterator[None]:
    """Raise StorageError in place of the errors of SQLite and of the operating system; the message names the gallery.

    Raises ConfigError for a whole number that SQLite cannot hold.
    """
    try:
        yield
    except UnicodeDecodeError:
        raise StorageError(
            f"{folder}: its database is damaged; restore a copy, or add the images to a new gallery"
        ) from None
    except OverflowError:
        raise ConfigError(f"{folder}: a number of more than 64 bits was given; give a smaller one") from None
    except sqlite3.Error as error:
        raise StorageError(f"{folder}: {error}; {_advice(str(error))}") from error
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror or error}; {_advice(str(error.strerror))}") from error


def _advice(text: str) -> str:
    text = text.lower()
    if "full" in text or "space" in text or "too large" in text:
        return "free some space and run the same command again; nothing that was stored is lost"
    if "locked" in text or "busy" in text:
        return "another process is using it; wait, then run the same command again"
    if "malformed" in text or "not a database" in text:
        return "it is damaged; restore a copy, or add the images to a new gallery"
    if "read-only" in text or "readonly" in text or "permission" in text or "unable to open" in text:
        return "make the folder writable, or name another one"
    return "check the disk and run the same command again; nothing that was stored is lost"
