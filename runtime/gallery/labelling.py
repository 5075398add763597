"""Rows that describe features: from labels, and from the `Features` of image files."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError
from runtime.features import Features
from runtime.gallery.space import Space, same_space, space_of_features
from runtime.gallery.store.erasing import is_sha256
from runtime.gallery.store.rows import Row
from runtime.gallery.times import MILLION, Time, microseconds

# A time in seconds before this one, in 1973, counts from the start of a video, and is no clock time.
EARLIEST_S = 1e8


def rows_of(
    space: Space,
    features: NDArray[np.float32] | Features,
    *,
    cameras: Sequence[int | None] | None,
    times: Sequence[Time | None] | None,
    tracks: Sequence[object] | None,
    persons: Sequence[object] | None,
    start: Time | None = None,
) -> list[Row]:
    """Return the rows that describe features; the parameters are those of `Gallery.add`."""
    if isinstance(features, Features):
        same_space(space, space_of_features(features), "the gallery")
        given = _labels_of(features, start)
        count, images, paths = len(features.paths), features.images, features.paths
        array = features.features
    else:
        given, count, images, paths, array = {}, len(features), (), (), features
    asked: dict[str, Sequence[Any] | None] = dict(
        cameras=cameras, times=times, tracks=tracks, persons=persons
    )
    labels = {name: given.get(name) if values is None else values for name, values in asked.items()}
    for name, values in labels.items():
        if values is not None and len(values) != count:
            raise DataError(
                f"{name} has {len(values)} entries for {count} features; give one for each, or None"
            )
    empty = [None] * count
    columns = [values if values is not None else empty for values in labels.values()]
    rows = []
    for number, (camera, time, track, person) in enumerate(zip(*columns)):
        row = Row(
            images[number] if images else "",
            camera=known_camera(camera),
            time_us=None if time is None else microseconds(time, "times"),
            track=known_name(track),
            person=known_name(person),
            path=whole_path(paths[number]) if paths else "",
        )
        rows.append(row if row.sha256 else _identified(row, array[number]))
    return rows


def _labels_of(features: Features, start: Time | None) -> dict[str, Sequence[Any] | None]:
    """Return the labels that features of files have. Times within a video count from `start`; without it, they are unknown."""
    times: list[float | None] | None = None
    if features.times is not None:
        base = None if start is None else microseconds(start, "start") / MILLION
        times = [_clock_time(time, base) for time in features.times.tolist()]
    return {
        "cameras": features.camids.tolist(),
        "times": times,
        "tracks": None if features.tracks is None else features.tracks.tolist(),
        # pid 0 is a distractor: nobody who is known
        "persons": [pid or None for pid in features.pids.tolist()],
    }


def _clock_time(time: float, base: float | None) -> float | None:
    """Return a time in seconds since 1970, or None for an unknown one."""
    if time >= EARLIEST_S:
        return time
    return None if base is None or math.isnan(time) else base + time


def whole_path(path: str) -> str:
    """Return the absolute path of a file; the address of a stream and a sha256 as they are."""
    return path if "://" in path or is_sha256(path) else os.path.abspath(path)


def known_camera(camera: int | None) -> int | None:
    """Return a 0-based camera number, or None for an unknown one (None, or below 0)."""
    return None if camera is None or int(camera) < 0 else int(camera)


def known_name(name: object) -> str | None:
    """Return the name of a person or a track as text, or None for an unknown one (None, "", or a number below 0)."""
    if name is None or name == "" or isinstance(name, int | np.integer) and int(name) < 0:
        return None
    return str(name)


def _identified(row: Row, feature: NDArray[np.float32]) -> Row:
    """Return the row with a sha256 of its own, because there is no image file: of its feature and of where it was seen."""
    seen = row.path or f"{row.camera} {row.time_us} {row.track}"
    data = seen.encode(errors="surrogateescape") + np.ascontiguousarray(feature, "<f4").tobytes()
    return replace(row, sha256=hashlib.sha256(data).hexdigest())
