"""Open the storage of a gallery: a folder, or a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

from runtime.gallery.local import open_local
from runtime.gallery.space import Space
from runtime.gallery.storage import Storage
from runtime.gallery.store.schema import SEGMENT_ROWS
from runtime.options.store_place import StorePlace


def open_storage(
    place: StorePlace, space: Space | None = None, *, segment_rows: int = SEGMENT_ROWS
) -> Storage:
    """Open the gallery at a place; with a `space`, it is created if it does not exist yet.

    `segment_rows` is for a folder. Raises the errors of `open_local` or `open_server`.
    """
    if isinstance(place, Path):
        return open_local(place, space, segment_rows=segment_rows)
    from runtime.gallery.postgres.gallery_storage import open_server

    return open_server(place, space)
