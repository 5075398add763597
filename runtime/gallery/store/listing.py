"""List the rows of a gallery by their labels. Reads no feature."""

from __future__ import annotations

from typing import Any

from runtime.gallery.lookup.filters import ALL, Filters
from runtime.gallery.store.store import Store


def list_ids(
    store: Store,
    filters: Filters = ALL,
    *,
    person: str | None = None,
    after: int = 0,
    limit: int | None = None,
) -> list[int]:
    """Return the ids of the rows that the filters leave, ascending, which is the order of adding.

    Only those of the `person` (None: of all), above the id `after`, and at most `limit` of them (None: all).
    """
    condition, values = filters.condition()
    parts: list[Any] = [*values, after]
    condition += f"{' AND' if condition else ' WHERE'} id > ?"
    if person is not None:
        condition += " AND person = ?"
        parts.append(person)
    query = f"SELECT id FROM image{condition} ORDER BY id LIMIT ?"
    with store.reading() as db:
        return [number for (number,) in db.execute(query, (*parts, -1 if limit is None else limit))]


def list_labels(store: Store) -> list[tuple[int, int | None, str | None, str | None]]:
    """Return (id, camera, person, track) of every row, in the order of adding."""
    with store.reading() as db:
        return db.execute("SELECT id, camera, person, track FROM image ORDER BY id").fetchall()


def count_rows(store: Store, filters: Filters = ALL) -> int:
    """Return the number of the rows that the filters leave."""
    condition, values = filters.condition()
    with store.reading() as db:
        (count,) = db.execute(f"SELECT count(*) FROM image{condition}", values).fetchone()
    return int(count)
