"""`Store`, an opened gallery: one writer at a time, any number of readers, and the recovery after a crash."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import DataError, StorageError
from runtime.gallery.space import Space, same_space
from runtime.gallery.store import files, schema
from runtime.gallery.store.schema import PATIENCE_S, reported, transaction
from runtime.gallery.store.segments import Segments
from runtime.stopping import deferred

LOCK = "lock"
# How long a process that waits for the lock sleeps before it looks again.
LOOK_AGAIN_S = 0.02
# The slot in `wipe` that stands for content of the SQLite file alone, such as a calibration crop.
NO_SLOT = -1


@dataclass(frozen=True)
class State:
    """What changes in a gallery: `generation` of its segments, `next_slot` to be written, `changes` to rows other than adds."""

    generation: int
    next_slot: int
    changes: int


@dataclass(frozen=True, eq=False)
class Store:
    """An opened gallery in `folder`. `db` is its SQLite file, and `lock` lets one thread at a time use it."""

    folder: Path
    db: sqlite3.Connection
    space: Space
    segment_rows: int
    writable: bool = True
    lock: threading.RLock = field(default_factory=threading.RLock)

    def state(self) -> State:
        """Return the current state."""
        return State(*self.db.execute("SELECT generation, next_slot, changes FROM store").fetchone())

    def segments(self, generation: int) -> Segments:
        """Return the segment files of a generation."""
        return Segments(self.folder, generation, self.space.dim, self.segment_rows)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the database in a transaction that sees one state. Raises StorageError for what fails inside."""
        with self.lock, reported(self.folder):
            self.db.execute("BEGIN")
            try:
                yield self.db
            finally:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the database while no other process writes to this gallery, and after unfinished work of a crash was finished.

        A signal that arrives meanwhile is delayed until the block ends. Raises StorageError for what fails inside, for a read-only
        gallery, and if another process holds the lock for too long.
        """
        if not self.writable:
            raise StorageError(f"{self.folder}: cannot be written; make the folder writable, or copy it")
        with deferred(), self.lock, reported(self.folder), _locked(self.folder):
            recover(self)
            yield self.db

    def close(self) -> None:
        """Close the files. The write-ahead log is emptied, so that a copy of the folder is complete."""
        with self.lock:
            # a reader or a full disk prevents it: the rows are safe in the log, and a later close empties it
            with suppress(sqlite3.Error):
                if self.writable:
                    self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.db.close()


def recover(store: Store) -> None:
    """Finish what a crash left: features of deleted rows, and bytes that no row refers to. The writer's lock must be held."""
    state = store.state()
    store.segments(state.generation).cut(state.next_slot)
    if store.db.execute("SELECT EXISTS (SELECT 1 FROM wipe)").fetchone()[0]:
        finish_wipes(store)


def finish_wipes(store: Store) -> None:
    """Overwrite the features of deleted rows, rewrite the SQLite file, and empty its log. The writer's lock must be held.

    The entries in `wipe` stay until all is done, so that a crash in between only repeats the work.
    """
    state = store.state()
    segments = store.segments(state.generation)
    slots = [slot for (slot,) in store.db.execute("SELECT slot FROM wipe ORDER BY slot")]
    stored = [slot for slot in slots if slot != NO_SLOT]
    for number, _ in segments.by_segment(stored):
        # an index holds copies of the features
        files.remove(segments.codes_path(number))
    segments.wipe(stored)
    for number, _ in segments.by_segment(stored):
        span = (number * store.segment_rows, (number + 1) * store.segment_rows)
        used = store.db.execute("SELECT EXISTS (SELECT 1 FROM image WHERE slot >= ? AND slot < ?)", span)
        if not used.fetchone()[0] and state.next_slot >= span[1]:
            files.remove(segments.path(number))
    if stored:
        # else a power failure can bring a removed file back
        files.sync_folder(store.folder)
    # secure_delete leaves copies of rows that SQLite moved between pages; a rewritten file has none
    store.db.execute("VACUUM")
    empty_log(store)
    with transaction(store.db):
        store.db.execute("DELETE FROM wipe")


def empty_log(store: Store) -> None:
    """Copy the write-ahead log into the SQLite file and cut it to nothing. Raises StorageError if a reader prevents it."""
    busy, _, _ = store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StorageError(
            f"{store.folder}: a process that reads it keeps deleted rows in {schema.DATABASE}-wal; when it has ended, run: "
            f"python -m runtime gallery compact --store {store.folder}"
        )


def open_store(
    folder: Path,
    space: Space | None = None,
    *,
    segment_rows: int = schema.SEGMENT_ROWS,
) -> Store:
    """Open the gallery in `folder`; with a `space`, it is created if it does not exist yet.

    Raises DataError if there is none, ArtifactError if it holds features of another space, and StorageError if it is damaged, of
    another version or of another program, or cannot be read.
    """
    if not (folder / schema.DATABASE).is_file():
        if space is None:
            raise DataError(
                f"{folder}: no gallery; make one with: python -m runtime gallery add MODEL IMAGES --store {folder}"
            )
        with reported(folder):
            _create_folder(folder)
    writable = os.access(folder, os.W_OK)
    with reported(folder):
        db = schema.connect(folder, writable=writable)
    try:
        with reported(folder):
            if writable and space is not None and schema.is_empty(db, folder):
                with _locked(folder):
                    if schema.is_empty(db, folder):
                        schema.create_tables(db, space.to_text(), segment_rows)
                        files.sync_folder(folder)
            if schema.is_empty(db, folder):
                raise DataError(f"{folder}: an empty gallery; add images to it first")
            text, rows = db.execute("SELECT space, segment_rows FROM store").fetchone()
        try:
            stored = Space.from_text(text)
        except (ValueError, TypeError) as error:
            raise StorageError(f"{folder}: {error}; restore a copy of the gallery") from None
        if space is not None:
            same_space(stored, space, str(folder))
        return Store(folder, db, stored, rows, writable)
    except BaseException:
        db.close()
        raise


def _create_folder(folder: Path) -> None:
    # features and thumbnails are personal data: for this user only
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.sync_folder(folder.parent)
    # the folder may have been there before; SQLite gives its other files the permissions of this one
    os.close(os.open(folder / schema.DATABASE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock file of the gallery. Another process is waited for, but not for ever."""
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise StorageError(
                        f"{folder}: another process is writing to it; wait until it has ended, then run the same command again"
                    ) from None
            time.sleep(LOOK_AGAIN_S)
        yield
    finally:
        os.close(file)
