"""Merge galleries and feature files into a gallery, and export its rows."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import DataError
from runtime.features import Features, load_features, select_rows
from runtime.files.manifest import replacing
from runtime.gallery.api import Gallery
from runtime.gallery.lookup.filters import ALL, Filters
from runtime.gallery.places import open_storage
from runtime.gallery.space import Space, same_space, space_of_features
from runtime.gallery.store.adding import Added
from runtime.gallery.store.rows import Row
from runtime.gallery.times import Time, time_text
from runtime.options.store_place import ServerAddress, StorePlace, store_place

# Rows that are read and committed at a time.
BLOCK = 1024


def merge(
    target: Path | str | ServerAddress,
    sources: Sequence[Path | str | ServerAddress],
    *,
    start: Time | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Added:
    """Add the rows of `sources` to the gallery `target`, which is created if it does not exist.

    A gallery is a folder or the address of a server, and a source may also be a feature file of `extract` (.npz). A row that is
    stored already changes nothing, so overlapping sources are no harm, and the same call resumes a stopped one. Thumbnails are
    copied, calibrations are not. Times within a video count from `start`; without it, they are not stored.

    Raises ArtifactError, before anything is added, if the sources differ in their embedding space, DataError or ArtifactError for a
    source that is missing, and StorageError for a damaged one.
    """
    places = [store_place(source) for source in sources]
    spaces = [(source, _space(source)) for source in places]
    for source, space in spaces[1:]:
        same_space(spaces[0][1], space, f"{source} cannot be merged with {spaces[0][0]}: the latter")
    total = Added(0, 0)
    with Gallery(open_storage(store_place(target), spaces[0][1])) as gallery:
        for source in places:
            if not isinstance(source, Path) or source.is_dir():
                with Gallery(open_storage(source)) as other:
                    ids = other.ids()
                    for first in range(0, len(ids), BLOCK):
                        some = ids[first : first + BLOCK]
                        rows, features = other.rows(some)
                        jpegs = other.store.thumbnails(some)
                        small = [jpegs.get(number, b"") for number in some]
                        total += gallery.add_rows(rows, features, small if jpegs else ())
                        progress(len(some))
            else:
                total += _add_file(gallery, source, start, progress)
    return total


def _space(source: StorePlace) -> Space:
    if isinstance(source, Path) and not source.is_dir():
        return space_of_features(load_features(source))
    with closing(open_storage(source)) as store:
        return store.space


def _add_file(gallery: Gallery, source: Path, start: Time | None, progress: Callable[[int], None]) -> Added:
    features, total = load_features(source), Added(0, 0)
    for first in range(0, len(features.paths), BLOCK):
        some = select_rows(features, np.arange(first, min(first + BLOCK, len(features.paths))))
        total += gallery.add(some, start=start)
        progress(len(some.paths))
    return total


def to_features(gallery: Gallery, filters: Filters = ALL) -> Features:
    """Return the rows that the filters leave as `Features`, in the order of adding.

    A person whose name is no whole number has pid -1, like an unknown one. Raises DataError if no row is left.
    """
    ids = gallery.ids(filters)
    if not ids:
        raise DataError(f"{gallery.store.place}: no row fits the filters; there is nothing to export")
    rows, features = gallery.rows(ids)
    named = [row.person for row in rows]
    pids = [int(name) if name is not None and name.isascii() and name.isdigit() else -1 for name in named]
    lost = sum(name is not None and pid == -1 for name, pid in zip(named, pids))
    return Features(
        features=features,
        paths=tuple(row.path for row in rows),
        pids=np.array(pids, np.int64),
        camids=np.array([-1 if row.camera is None else row.camera for row in rows], np.int64),
        model=gallery.space.model,
        camera=gallery.space.camera,
        projection=gallery.space.projection,
        images=tuple(row.sha256 for row in rows),
        notes=(f"{lost} rows have a person whose name is no number; their pid is -1",) if lost else (),
    )


def write_rows(gallery: Gallery, path: Path, filters: Filters = ALL) -> int:
    """Write the rows that the filters leave to a file of JSON lines, without their features, and return their number."""
    count = 0
    with replacing(path) as temporary, open(temporary, "w") as file:
        ids = gallery.ids(filters)
        for start in range(0, len(ids), BLOCK):
            some = ids[start : start + BLOCK]
            rows, _ = gallery.rows(some)
            file.writelines(json.dumps(row_json(number, row)) + "\n" for number, row in zip(some, rows))
            count += len(some)
    return count


def row_json(number: int, row: Row) -> dict[str, Any]:
    """Return a row as a JSON object; `path_b64` holds the bytes of a path that is not UTF-8."""
    content: dict[str, Any] = {
        "id": number,
        "path": row.path,
        "camera": row.camera,
        "time": time_text(row.time_us),
        "track": row.track,
        "person": row.person,
        "source": row.source,
        "sha256": row.sha256,
    }
    name = os.fsencode(row.path)
    try:
        name.decode()
    except UnicodeDecodeError:
        content["path"] = name.decode(errors="backslashreplace")
        content["path_b64"] = base64.b64encode(name).decode()
    return content
