"""Delete rows on a server so that their bytes are in none of the gallery's tables, and in no log that the server still needs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote
from typing import Any

from runtime.console import note
from runtime.errors import ConfigError, StorageError
from runtime.gallery.postgres.driver import PATIENCE_S
from runtime.gallery.postgres.schema import TABLES
from runtime.gallery.postgres.server import Server
from runtime.gallery.store.erasing import Selection

# Held during a deletion and while the tables are rewritten: CREATING of the schema, and one more.
WIPING = 0x72656965
# Seconds until a client asks again whether it may delete.
PAUSE_S = 0.05
INDEX = "reid_image_feature"


def delete_rows(server: Server, selection: Selection) -> int:
    """Delete the selected rows and return their number.

    One transaction deletes the rows, their thumbnails and crops, and the index, which holds copies of features. Then the tables are
    rewritten without them, and a checkpoint removes the earlier files. Raises StorageError, before anything is deleted, if the user
    has no right to do this; and afterwards, if another client keeps the deleted rows alive.
    """
    text, values = _translated(*selection.condition())
    crop_text, crop_values = _translated(*selection.crop_condition("reid_image"))
    _check_rights(server)
    with _alone(server):
        with server.writing() as db:
            # the crops first: their condition asks for the rows
            query = f"DELETE FROM reid_calibration_crop WHERE {crop_text}"
            crops = int(db.execute(query, crop_values).rowcount)
            deleted = int(db.execute(f"DELETE FROM reid_image WHERE {text}", values).rowcount)
            if deleted or crops:
                db.execute("UPDATE reid_store SET changes = changes + 1, wiping = true")
                drop_index(db)
        if (deleted or crops) and (problem := _rewritten(server)):
            raise StorageError(problem)
    return deleted


def drop_index(db: Any) -> None:
    """Drop the index of features, if there is one."""
    db.execute(f"DROP INDEX IF EXISTS {INDEX}")
    db.execute("UPDATE reid_store SET indexed = false WHERE indexed")


def finish_wiping(server: Server) -> None:
    """Finish a deletion that was interrupted after its transaction. One that another client is at is waited for, and left to it.

    Where it cannot be finished, a warning says why: files keep the deleted bytes for longer, and what is read or added is right.
    """
    if not _is_unfinished(server):
        return
    with _alone(server):
        if _is_unfinished(server) and (problem := _missing_right(server) or _rewritten(server)):
            note(f"WARNING an interrupted deletion is still unfinished. {problem}")


def wipe(server: Server) -> None:
    """Rewrite the tables without deleted rows, and let the server remove the earlier files and the log that it needs no longer.

    Raises StorageError if another client has a transaction open that may still see the rows; `gallery compact` tries again.
    """
    _check_rights(server)
    with _alone(server):
        if problem := _rewritten(server):
            raise StorageError(problem)


@contextmanager
def _alone(server: Server) -> Iterator[None]:
    """Let no other client delete rows or finish a deletion while the block runs, so that none marks the deletion of another as done.

    Raises StorageError if another client does so for longer than `PATIENCE_S`.
    """
    end = time.monotonic() + PATIENCE_S
    with server.direct() as db:
        # Asked again and again: a statement that waited for the lock would still see the rows that its holder deletes.
        while not db.execute("SELECT pg_try_advisory_lock(%s)", (WIPING,)).fetchone()[0]:
            if time.monotonic() > end:
                raise StorageError(
                    f"{server.address}: another client is deleting rows; wait, then run the same command again"
                )
            time.sleep(PAUSE_S)
        try:
            yield
        finally:
            # the server gives the lock of a lost connection back
            if not db.closed:
                db.execute("SELECT pg_advisory_unlock(%s)", (WIPING,))


def _is_unfinished(server: Server) -> bool:
    with server.direct() as db:
        return bool(db.execute("SELECT wiping FROM reid_store").fetchone()[0])


def _rewritten(server: Server) -> str:
    """Rewrite all tables without deleted rows; return what is in the way of that, or ""."""
    with server.direct() as db:
        kept = sum(_rewrite(db, name) for name in TABLES)
        if kept:
            return (
                f"{server.address}: the rows are deleted, but a transaction of another client keeps {kept} of them in the files; "
                f"end it, then run: python -m runtime gallery compact --store {quote(str(server.address))}"
            )
        # no longer in the segment of the log that is being written
        if db.execute("SELECT has_function_privilege('pg_switch_wal()', 'EXECUTE')").fetchone()[0]:
            db.execute("SELECT pg_switch_wal()")
        else:
            note(
                f"{server.address}: the server's log keeps bytes of deleted rows until it is full; let an administrator run: "
                "GRANT EXECUTE ON FUNCTION pg_switch_wal() TO the user of the gallery"
            )
        db.execute("CHECKPOINT")
        db.execute("UPDATE reid_store SET wiping = false")
    return ""


def _rewrite(db: Any, table: str) -> int:
    """Rewrite a table, and return how many deleted rows are still in it."""
    details: list[str] = []

    def listen(notice: Any) -> None:
        details.append(notice.message_detail or "")

    db.add_notice_handler(listen)
    try:
        db.execute(f"VACUUM (FULL, VERBOSE) {table}")
    finally:
        db.remove_notice_handler(listen)
    # "3 dead row versions cannot be removed yet."
    counts = [re.match(r"\D*(\d+)", detail) for detail in details]
    return sum(int(count[1]) for count in counts if count)


def _check_rights(server: Server) -> None:
    if missing := _missing_right(server):
        raise StorageError(missing)


def _missing_right(server: Server) -> str:
    """Return why this user may not delete, "" if nothing is missing."""
    owner_of = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'reid_image'::regclass"
    query = f"SELECT pg_has_role('pg_checkpoint', 'USAGE'), current_user, ({owner_of})"
    with server.direct() as db:
        checkpoint, user, owner = db.execute(query).fetchone()
    if not owner:
        return (
            f"{server.address}: only the owner of the tables can delete so that no file keeps the bytes, and {user} is another user; "
            "run python -m runtime gallery compact with the owner's address"
        )
    if not checkpoint:
        return (
            f"{server.address}: a deletion ends with a checkpoint, which {user} may not ask for; let an administrator run: "
            f'GRANT pg_checkpoint TO "{user}"'
        )
    return ""


def _translated(text: str, values: list[Any]) -> tuple[str, list[Any]]:
    """Return a condition with the placeholders of psycopg. Raises ConfigError for a number of more than 64 bits."""
    if [value for value in values if isinstance(value, int) and not -(2**63) <= value < 2**63]:
        raise ConfigError("a number of more than 64 bits was given; give a smaller one")
    return text.replace("?", "%s"), values
