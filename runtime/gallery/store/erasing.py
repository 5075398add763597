"""Delete rows so that their bytes are gone from every file of the gallery."""

from __future__ import annotations

import os
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

    def crop_condition(self, images: str) -> tuple[str, list[Any]]:
        """Return the SQL condition of the calibration crops to delete, and its values; `images` is the table of the rows.

        They are those of the selected rows, and of a person or an image that has no row.
        """
        condition, values = self.condition()
        of_rows = f"sha256 IN (SELECT sha256 FROM {images} WHERE {condition})"
        if self == Selection(person=self.person):
            return f"person = ? OR {of_rows}", [self.person, *values]
        if self.image is not None and is_sha256(self.image) and self == Selection(image=self.image):
            return "sha256 = ?", [bytes.fromhex(self.image)]
        return of_rows, values


def delete_rows(store: Store, selection: Selection) -> int:
    """Delete the selected rows and return their number. On return, their bytes are in no file of the gallery.

    This erases paths, labels, thumbnails, features, the codes of an index, and the calibration crops of the same images; for a person
    or a sha256 alone, also the crops of images that have no row. Raises StorageError when the disk fails; the deletion is finished
    when the gallery is next written to.
    """
    condition, values = selection.condition()
    crop_condition, crop_values = selection.crop_condition("image")
    with store.writing() as db:
        with transaction(db):
            # the crops first: their condition asks for the rows
            query = f"DELETE FROM calibration_crop WHERE {crop_condition}"
            crops = db.execute(query, crop_values).rowcount
            db.execute(f"INSERT INTO wipe SELECT slot FROM image WHERE {condition}", values)
            deleted = db.execute(f"DELETE FROM image WHERE {condition}", values).rowcount
            if deleted:
                db.execute("UPDATE store SET changes = changes + 1")
            if crops and not deleted:
                db.execute("INSERT INTO wipe VALUES (?)", (NO_SLOT,))
        if deleted or crops:
            finish_wipes(store)
        return deleted


def is_sha256(text: str) -> bool:
    """Return whether a text is the sha256 of an image, as rows name it: 64 hexadecimal digits."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")
