"""Delete rows so that their bytes are gone from every file of the gallery."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigError
from runtime.gallery.store.schema import transaction
from runtime.gallery.store.store import NO_SLOT, Store, finish_wipes


@dataclass(frozen=True)
class Selection:
    """Which rows to delete: those that fit everything that is given.

    `person` is a name, `image` a path or the sha256 of an image, `id` the number of a row, `camera` a 0-based number,
    and `before_us` selects the rows with an earlier time, in microseconds since 1970. A row without a time is never before.
    """

    person: str | None = None
    image: str | None = None
    id: int | None = None
    camera: int | None = None
    before_us: int | None = None

    def condition(self) -> tuple[str, list[Any]]:
        """Return the SQL condition and its values. Raises ConfigError if nothing is given, which would delete all rows."""
        parts: dict[str, list[Any]] = {}
        if self.person is not None:
            parts["person = ?"] = [self.person]
        if self.image is not None:
            digest = bytes.fromhex(self.image) if is_sha256(self.image) else b""
            parts["(path = ? OR sha256 = ?)"] = [os.fsencode(self.image), digest]
        if self.id is not None:
            parts["id = ?"] = [self.id]
        if self.camera is not None:
            parts["camera = ?"] = [self.camera]
        if self.before_us is not None:
            parts["time_us < ?"] = [self.before_us]
        if not parts:
            raise ConfigError(
                "nothing says what to delete; give a person, an image, an id, a camera or a time"
            )
        return " AND ".join(parts), [value for values in parts.values() for value in values]


def delete_rows(store: Store, selection: Selection) -> int:
    """Delete the selected rows and return their number. On return, their bytes are in no file of the gallery.

    This erases paths, labels, thumbnails, features, the codes of an index, and the calibration crops of the same images; for a person
    or a sha256 alone, also the crops of images that have no row. Raises StorageError when the disk fails; the deletion is finished
    when the gallery is next written to.
    """
    condition, values = selection.condition()
    with store.writing() as db:
        with transaction(db):
            crops = _delete_crops(db, selection)
            db.execute(f"INSERT INTO wipe SELECT slot FROM image WHERE {condition}", values)
            deleted = db.execute(f"DELETE FROM image WHERE {condition}", values).rowcount
            if deleted:
                db.execute("UPDATE store SET changes = changes + 1")
            if crops and not deleted:
                db.execute("INSERT INTO wipe VALUES (?)", (NO_SLOT,))
        if deleted or crops:
            finish_wipes(store)
        return deleted


def _delete_crops(db: sqlite3.Connection, selection: Selection) -> int:
    """Delete the calibration crops of the selected rows, which are still there, and of a person or an image that has no row."""
    condition, values = selection.condition()
    if selection == Selection(person=selection.person):
        condition, values = (
            f"person = ? OR sha256 IN (SELECT sha256 FROM image WHERE {condition})",
            [selection.person, *values],
        )
    elif selection == Selection(image=selection.image) and is_sha256(selection.image or ""):
        condition, values = "sha256 = ?", [bytes.fromhex(selection.image or "")]
    else:
        condition = f"sha256 IN (SELECT sha256 FROM image WHERE {condition})"
    return db.execute(f"DELETE FROM calibration_crop WHERE {condition}", values).rowcount


def is_sha256(text: str) -> bool:
    """Return whether a text is the sha256 of an image, as rows name it: 64 hexadecimal digits."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")
