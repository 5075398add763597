"""Delete rows on a server so that their bytes are in none of the gallery's tables, and in no log that the server still needs."""

from __future__ import annotations

import re
from typing import Any

from runtime.errors import ConfigError, StorageError
from runtime.gallery.postgres.schema import TABLES
from runtime.gallery.postgres.server import Server
from runtime.gallery.store.erasing import Selection, is_sha256

# Held while a client rewrites the tables: CREATING of the schema, and one more.
WIPING = 0x72656965
INDEX = "reid_image_feature"


def delete_rows(server: Server, selection: Selection) -> int:
    """Delete the selected rows and return their number.

    One transaction deletes the rows, their thumbnails and crops, and the index, which holds copies of features. Then the tables are
    rewritten without them, and a checkpoint removes the earlier files. Raises StorageError, before anything is deleted, if the user
    has no right to do this; and afterwards, if another client keeps the deleted rows alive.
    """
    text, values = _translated(*selection.condition())
    _check_rights(server)
    with server.writing() as db:
        crops = _delete_crops(db, selection)
        deleted = int(db.execute(f"DELETE FROM reid_image WHERE {text}", values).rowcount)
        if deleted or crops:
            db.execute("UPDATE reid_store SET changes = changes + 1, wiping = true")
            drop_index(db)
    if deleted or crops:
        wipe(server)
    return deleted


def drop_index(db: Any) -> None:
    """Drop the index of features, if there is one."""
    db.execute(f"DROP INDEX IF EXISTS {INDEX}")
    db.execute("UPDATE reid_store SET indexed = false WHERE indexed")


def finish_wiping(server: Server) -> None:
    """Finish a deletion that was interrupted after its transaction, unless another client is at it."""
    with server.direct() as db:
        if not db.execute("SELECT wiping FROM reid_store").fetchone()[0]:
            return
    wipe(server)


def wipe(server: Server) -> None:
    """Rewrite the tables without deleted rows, and let the server remove the earlier files and the log that it needs no longer.

    Raises StorageError if another client has a transaction open that may still see the rows; `gallery compact` tries again.
    """
    _check_rights(server)
    with server.direct() as db:
        db.execute("SELECT pg_advisory_lock(%s)", (WIPING,))
        try:
            kept = sum(_rewrite(db, name) for name in TABLES)
            if kept:
                raise StorageError(
                    f"{server.address}: the rows are deleted, but a transaction of another client keeps {kept} of them in the files; "
                    f"end it, then run: python -m runtime gallery compact --store {server.address}"
                )
            # no longer in the segment of the log that is being written
            if db.execute("SELECT has_function_privilege('pg_switch_wal()', 'EXECUTE')").fetchone()[0]:
                db.execute("SELECT pg_switch_wal()")
            db.execute("CHECKPOINT")
            db.execute("UPDATE reid_store SET wiping = false")
        finally:
            if not db.closed:
                db.execute("SELECT pg_advisory_unlock(%s)", (WIPING,))


def _rewrite(db: Any, table: str) -> int:
    """Rewrite a table, and return how many deleted rows are still in it."""
    details: list[str] = []

    def listen(notice: Any) -> None:
        details.append(notice.message_detail or "")

    db.add_notice_handler(listen)
    try:
        # no patience: a transaction that reads the table ends sooner than a deletion is given up
        db.execute(f"VACUUM (FULL, VERBOSE) {table}")
    finally:
        db.remove_notice_handler(listen)
    # "3 dead row versions cannot be removed yet."
    counts = [re.match(r"\D*(\d+)", detail) for detail in details]
    return sum(int(count[1]) for count in counts if count)


def _check_rights(server: Server) -> None:
    owner_of = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'reid_image'::regclass"
    query = f"SELECT pg_has_role('pg_checkpoint', 'USAGE'), current_user, ({owner_of})"
    with server.direct() as db:
        checkpoint, user, owner = db.execute(query).fetchone()
    if not owner:
        raise StorageError(
            f"{server.address}: only the owner of the tables can delete so that no file keeps the bytes, and {user} is another user"
        )
    if not checkpoint:
        raise StorageError(
            f"{server.address}: a deletion ends with a checkpoint, which {user} may not ask for; let an administrator run: "
            f'GRANT pg_checkpoint TO "{user}"'
        )


def _delete_crops(db: Any, selection: Selection) -> int:
    """Delete the calibration crops of the selected rows, which are still there, and of a person or an image that has no row."""
    text, values = _translated(*selection.condition())
    if selection == Selection(person=selection.person):
        text = f"person = %s OR sha256 IN (SELECT sha256 FROM reid_image WHERE {text})"
        values = [selection.person, *values]
    elif selection == Selection(image=selection.image) and is_sha256(selection.image or ""):
        text, values = "sha256 = %b", [bytes.fromhex(selection.image or "")]
    else:
        text = f"sha256 IN (SELECT sha256 FROM reid_image WHERE {text})"
    return int(db.execute(f"DELETE FROM reid_calibration_crop WHERE {text}", values).rowcount)


def _translated(text: str, values: list[Any]) -> tuple[str, list[Any]]:
    """Return a condition with the placeholders of psycopg. Raises ConfigError for a number of more than 64 bits."""
    if [value for value in values if isinstance(value, int) and not -(2**63) <= value < 2**63]:
        raise ConfigError("a number of more than 64 bits was given; give a smaller one")
    return text.replace("?", "%s"), values
