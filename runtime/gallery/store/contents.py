"""What a gallery holds: counts, times and sizes."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.gallery.store.segments import SUFFIX
from runtime.gallery.store.store import Store


@dataclass(frozen=True)
class Info:
    """The content of a gallery.

    `rows` is the number of images, `persons` and `tracks` that of different names. `cameras` has the number of rows of each camera
    (key None: unknown). `first_us` and `last_us` are the earliest and latest time in microseconds since 1970, `timeless` the rows
    without a time. `free_slots` are the places of deleted rows, which a compaction frees. `feature_bytes` is the size of the segment
    files, `other_bytes` that of all other files. `thumbnails` is their number. `calibrations` has the number of each kind.
    """

    rows: int
    persons: int
    tracks: int
    cameras: dict[int | None, int]
    first_us: int | None
    last_us: int | None
    timeless: int
    free_slots: int
    feature_bytes: int
    other_bytes: int
    thumbnails: int
    calibrations: dict[str, int]


def info(store: Store) -> Info:
    """Return what the gallery holds. Raises StorageError if it cannot be read."""
    with store.reading() as db:
        state = store.state()
        counts = db.execute(
            "SELECT count(*), count(DISTINCT person), min(time_us), max(time_us), count(*) - count(time_us) FROM image"
        ).fetchone()
        (tracks,) = db.execute(
            "SELECT count(*) FROM (SELECT DISTINCT camera, track FROM image WHERE track IS NOT NULL)"
        ).fetchone()
        cameras = dict(db.execute("SELECT camera, count(*) FROM image GROUP BY camera ORDER BY camera"))
        (thumbnails,) = db.execute("SELECT count(*) FROM thumbnail").fetchone()
        calibrations = dict(db.execute("SELECT kind, count(*) FROM calibration GROUP BY kind"))
        sizes = [
            (path.suffix == SUFFIX, path.stat().st_size) for path in store.folder.rglob("*") if path.is_file()
        ]
    return Info(
        rows=counts[0],
        persons=counts[1],
        tracks=tracks,
        cameras=cameras,
        first_us=counts[2],
        last_us=counts[3],
        timeless=counts[4],
        free_slots=state.next_slot - counts[0],
        feature_bytes=sum(size for is_segment, size in sizes if is_segment),
        other_bytes=sum(size for is_segment, size in sizes if not is_segment),
        thumbnails=thumbnails,
        calibrations=calibrations,
    )
