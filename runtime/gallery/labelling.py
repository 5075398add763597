"""Rows that describe features: from labels, and from the `Features` of image files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError
from runtime.features import Features
from runtime.gallery.space import Space, same_space, space_of_features
from runtime.gallery.store.rows import Row
from runtime.gallery.times import Time, microseconds

# A time in seconds before this one, in 1973, counts from the start of a video and is none of a clock.
EARLIEST_S = 1e8


def rows_of(
    space: Space,
    features: NDArray[np.float32] | Features,
    *,
    cameras: Sequence[int | None] | None,
    times: Sequence[Time | None] | None,
    tracks: Sequence[object] | None,
    persons: Sequence[object] | None,
) -> list[Row]:
    """Return the rows that describe features; the parameters are those of `Gallery.add`."""
    count = len(features.paths) if isinstance(features, Features) else len(features)
    labels: dict[str, Sequence[Any] | None] = dict(
        cameras=cameras, times=times, tracks=tracks, persons=persons
    )
    for name, values in labels.items():
        if values is not None and len(values) != count:
            raise DataError(
                f"{name} has {len(values)} entries for {count} features; give one for each, or None"
            )
    images, paths = [""] * count, [""] * count
    if isinstance(features, Features):
        same_space(space, space_of_features(features), "the gallery")
        images = list(features.images) or images
        paths = [path if "://" in path else os.path.abspath(path) for path in features.paths]
        tracks = features.tracks.tolist() if tracks is None and features.tracks is not None else tracks
        times = _clock_times(features) if times is None else times
        cameras = features.camids.tolist() if cameras is None else cameras
        # pid 0 is a distractor: nobody who is known
        persons = [pid or None for pid in features.pids.tolist()] if persons is None else persons
    rows = []
    array = features.features if isinstance(features, Features) else features
    for number in range(count):
        row = Row(
            images[number],
            camera=known_camera(cameras[number] if cameras is not None else None),
            time_us=None if times is None or times[number] is None else microseconds(times[number], "times"),  # type: ignore[arg-type]
            track=known_name(tracks[number] if tracks is not None else None),
            person=known_name(persons[number] if persons is not None else None),
            path=paths[number],
        )
        rows.append(row if row.sha256 else _identified(row, array[number]))
    return rows


def _clock_times(features: Features) -> list[float | None] | None:
    """Return the times of the boxes of a video, in seconds since 1970, or None; a time within the video is unknown."""
    if features.times is None:
        return None
    return [time if time >= EARLIEST_S else None for time in features.times.tolist()]


def known_camera(camera: int | None) -> int | None:
    """Return a 0-based camera number, or None for an unknown one (None, or below 0)."""
    return None if camera is None or int(camera) < 0 else int(camera)


def known_name(name: object) -> str | None:
    """Return the name of a person or a track as text, or None for an unknown one (None, "", or a number below 0)."""
    if name is None or name == "" or isinstance(name, int | np.integer) and int(name) < 0:
        return None
    return str(name)


def _identified(row: Row, feature: NDArray[np.float32]) -> Row:
    content = f"{row.camera} {row.time_us} {row.track} {row.path} ".encode(errors="surrogateescape")
    digest = hashlib.sha256(content + np.ascontiguousarray(feature, "<f4").tobytes()).hexdigest()
    return Row(digest, row.source, row.camera, row.time_us, row.track, row.person, row.path)
