"""Count, verify and index the rows on a server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError, GateError
from runtime.gallery.lookup.filters import ALL, Search
from runtime.gallery.lookup.indexed import Coverage
from runtime.gallery.lookup.recall import TOP, Recall, measure_recall
from runtime.gallery.postgres.driver import feature_of
from runtime.gallery.postgres.erasing import INDEX, drop_index
from runtime.gallery.postgres.rows import BLOCK, count_in, fits, labels_in, read_rows
from runtime.gallery.postgres.schema import TABLES
from runtime.gallery.postgres.searching import HALF, SINGLE, is_indexed, nearest_ids
from runtime.gallery.postgres.server import Server
from runtime.gallery.postgres.writing import list_calibrations
from runtime.gallery.store.contents import Info
from runtime.gallery.store.rows import COLUMNS
from runtime.gallery.store.verifying import SHOWN, Verified
from runtime.ranking.site import SiteMeans

# The memory for building an index, in MB: what its rows take, but no more than the second number. Without it, the build takes much
# longer. Bytes of a row beside its numbers.
MEMORY_MB, LINKS = (64, 4096), 400


def info(server: Server) -> Info:
    """Return what the gallery holds. The space of deleted rows is free already, so `free_slots` is 0."""
    with server.reading() as db:
        counts = db.execute(
            "SELECT count(*), count(DISTINCT person), min(time_us), max(time_us), count(*) - count(time_us) FROM reid_image"
        ).fetchone()
        (tracks,) = db.execute(
            "SELECT count(*) FROM (SELECT DISTINCT camera, track FROM reid_image WHERE track IS NOT NULL) AS tracks"
        ).fetchone()
        cameras = db.execute(
            "SELECT camera, count(*) FROM reid_image GROUP BY camera ORDER BY camera NULLS FIRST"
        ).fetchall()
        (thumbnails,) = db.execute("SELECT count(*) FROM reid_thumbnail").fetchone()
        kinds = db.execute("SELECT kind, count(*) FROM reid_calibration GROUP BY kind").fetchall()
        # the table of images holds their labels as well
        (features,) = db.execute("SELECT pg_table_size('reid_image')").fetchone()
        sizes = [
            db.execute("SELECT pg_total_relation_size(%s::regclass)", (name,)).fetchone()[0]
            for name in TABLES
        ]
    return Info(
        rows=counts[0],
        persons=counts[1],
        tracks=tracks,
        cameras=dict(cameras),
        first_us=counts[2],
        last_us=counts[3],
        timeless=counts[4],
        free_slots=0,
        feature_bytes=features,
        other_bytes=sum(sizes) - features,
        thumbnails=thumbnails,
        calibrations=dict(kinds),
    )


def verify(server: Server) -> Verified:
    """Read every row and feature, and the calibrations in use, and compare them with their checksums."""
    problems: list[str] = []
    rows = 0
    with server.reading() as db:
        for number, right in _checked(db):
            rows += 1
            problems += [] if right else [f"row {number}: does not fit its checksum"]
        problems += [
            f"calibration {record.id} ({record.kind}): does not fit its checksum; switch it off with `switch_off` (--off)"
            for record in list_calibrations(db, newest=True)
            if not record.right
        ]
    return Verified(rows, len(problems), tuple(problems[:SHOWN]))


def _checked(db: Any) -> Iterator[tuple[int, bool]]:
    """Yield (id, whether it fits its checksum) of every row."""
    query = f"SELECT id, crc, feature, {COLUMNS} FROM reid_image WHERE id > %s ORDER BY id LIMIT {BLOCK}"
    last = 0
    while records := db.execute(query, (last,), binary=True).fetchall():
        for number, crc, value, *record in records:
            yield number, fits(crc, feature_of(value), record)
        last = records[-1][0]


def coverage(server: Server) -> Coverage:
    """Return how many rows the index covers: all, or none if there is no index."""
    with server.reading() as db:
        rows = count_in(db, ALL)
        return Coverage(rows, rows if is_indexed(db) else 0)


def build_index(server: Server, least: float, site: SiteMeans | None) -> Recall:
    """Build an HNSW index, measure the recall of the search with it, and keep it if that is at least `least`.

    Rows that are added later are indexed at once. Adds wait while the index is built. Raises DataError for a gallery without rows or
    with features that are too wide, and GateError for a recall below `least`; there is no index then.
    """
    dim, address = server.space.dim, server.address
    if dim > HALF:
        raise DataError(
            f"{address}: an index holds up to {HALF} numbers, but a feature has {dim}; search without the index"
        )
    kind = f"feature {'vector' if dim <= SINGLE else 'halfvec'}_ip_ops"
    if dim > SINGLE:
        kind = f"(feature::halfvec({dim})) halfvec_ip_ops"
    with server.writing() as db:
        rows = count_in(db, ALL)
        if not rows:
            raise DataError(f"{address}: the gallery is empty; add images first")
        drop_index(db)
        memory = int(np.clip(rows * (4 * dim + LINKS) / 1e6, *MEMORY_MB))
        db.execute(f"SET LOCAL maintenance_work_mem = '{memory}MB'")
        db.execute(f"CREATE INDEX {INDEX} ON reid_image USING hnsw ({kind})")
    with server.direct() as db:
        db.execute("ANALYZE reid_image")
    with server.writing() as db:
        # the measured search must use it
        db.execute("UPDATE reid_store SET indexed = true")
        result = _measured(db, server, site)
        if result.recall < least:
            drop_index(db)
    if result.recall < least:
        raise GateError(
            f"{address}: the index finds {result.recall:.4f} of the {result.hits} hits of the same {result.judged}, but {least} are "
            "required; search without the index, or lower `recall` (--recall)"
        )
    return result


def _measured(db: Any, server: Server, site: SiteMeans | None) -> Recall:
    def read(ids: list[int]) -> NDArray[np.float32]:
        return read_rows(db, server, ids)[1]

    def search(query: NDArray[np.float32], index: bool) -> list[list[int]]:
        return nearest_ids(db, server, query, Search(ALL, TOP + 1, index=index), site)

    exact, indexed = (partial(search, index=index) for index in (False, True))
    return measure_recall(labels_in(db), read, exact, indexed, site)
