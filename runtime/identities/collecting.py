"""Make tracks from the boxes of a tracker, as they come frame by frame, and from the features of a recorded video or a gallery."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError
from runtime.features import Features
from runtime.gallery.api import Gallery
from runtime.gallery.labelling import EARLIEST_S
from runtime.gallery.times import MILLION
from runtime.identities.arrivals import order_of
from runtime.identities.keeping import SOURCE
from runtime.identities.quality import box_quality
from runtime.identities.track import Track
from runtime.video.boxes import Boxes

# A track keeps this many crops, those of the best quality.
CROPS = 64
# Trackers forget people who are out of sight much sooner. A number that comes back after this time, in seconds, is that of somebody
# else: the tracker was started again.
RESTART_S = 300.0
# How many rows of a gallery are read at once.
CHUNK = 4096


class TrackCollector:
    """Collects what a tracker says about one camera, frame by frame, and returns the tracks that have ended.

    A track has ended when the tracker has not shown it for `gap_s` seconds. One that lasts longer than `longest_s` is returned in
    parts, so that somebody who stands still gets an identity as well.
    """

    def __init__(self, camera: int, *, gap_s: float = 2.0, longest_s: float = 60.0, source: str = "") -> None:
        """Collect for the 0-based `camera`. `source` names the video or the stream."""
        self._camera, self._gap_s, self._longest_s, self._source = camera, gap_s, longest_s, source
        self._running: dict[str, _Running] = {}
        self._now_s = float("-inf")

    def add(
        self,
        time_s: float,
        tracks: Sequence[object],
        features: NDArray[np.float32],
        boxes: NDArray[np.float64],
        size: tuple[int, int] | None = None,
    ) -> list[Track]:
        """Add one frame, and return the tracks that have ended.

        `time_s` is its time in seconds, later than that of the frame before. `tracks` (n,) are the tracker's names or numbers of its
        people, `features` (n, D) float32 those of their crops, `boxes` (n, 4) their x1, y1, x2, y2 in pixels, and `size` the width and
        height of the frame. A row of NaN, as `Model.embed_boxes` returns for an empty box, is left out. Raises DataError if the time
        does not rise, or the lengths differ.
        """
        if not time_s > self._now_s:
            raise DataError(
                f"camera {self._camera}: a frame at {time_s} s comes after one at {self._now_s} s; give frames in their order"
            )
        if not len(tracks) == len(features) == len(boxes):
            raise DataError(
                f"camera {self._camera}: {len(tracks)} tracks, {len(features)} features, {len(boxes)} boxes; give one of each a person"
            )
        self._now_s = time_s
        corners = np.asarray(boxes, np.float64).reshape(-1, 4)
        quality = box_quality(corners, np.zeros(len(corners), np.int64), size)
        for row, name in enumerate(map(str, tracks)):
            if np.isfinite(features[row]).all():
                running = self._running.setdefault(name, _Running(time_s))
                evidence = f"{self._source}#time={time_s:.3f}&track={name}"
                running.add(time_s, np.array(features[row], np.float32), float(quality[row]), evidence)
        return self._ended(time_s)

    def close(self) -> list[Track]:
        """Return the tracks that have not ended yet."""
        return self._ended(float("inf"))

    def _ended(self, now_s: float) -> list[Track]:
        names = [
            name
            for name, running in self._running.items()
            if now_s - running.last_s > self._gap_s or running.last_s - running.first_s > self._longest_s
        ]
        return [self._running.pop(name).track(self._camera, name, self._source) for name in names]


@dataclass
class _Running:
    """The crops of a track so far: at most CROPS of them in a heap, of which the poorest is at the top."""

    first_s: float
    last_s: float = float("-inf")
    number: int = 0
    crops: list[tuple[float, int, float, NDArray[np.float32], str]] = field(default_factory=list)

    def add(self, time_s: float, feature: NDArray[np.float32], quality: float, evidence: str) -> None:
        self.last_s, self.number = time_s, self.number + 1
        push = heapq.heappush if len(self.crops) < CROPS else heapq.heappushpop
        push(self.crops, (quality, self.number, time_s, feature, evidence))

    def track(self, camera: int, name: str, source: str) -> Track:
        crops = sorted(self.crops, key=lambda crop: crop[1])
        quality, _, times, features, evidence = zip(*crops)
        return Track(
            camera,
            name,
            np.array(times),
            np.stack(features),
            np.array(quality, np.float32),
            evidence,
            source=source,
            span_s=(self.first_s, self.last_s),
        )


def tracks_of(
    features: Features,
    boxes: Boxes | None = None,
    size: tuple[int, int] | None = None,
    *,
    start_s: float = 0.0,
) -> list[Track]:
    """Return the tracks of a recorded video, in the order of their ends.

    `features` are those of its boxes (`extract --video`), and `boxes` what they were extracted from: with them, and the `size` of the
    frames, width and height in pixels, the crops have a quality. `start_s` is added to times that count from the start of the video,
    and not to clock times (seconds since 1970). Boxes without a track are left out. A number that the tracker gives again after more
    than RESTART_S seconds is another track. Raises DataError for features that are no video's, that have no times, or that were
    extracted from other boxes.
    """
    if features.tracks is None or features.times is None or features.frames is None:
        raise DataError(
            "the features have no tracks; extract them from a video and its boxes with `Model.embed_video`"
        )
    known = features.tracks >= 0
    if not np.isfinite(features.times[known]).all():
        raise DataError(
            f"{features.paths[0].rpartition('#')[0]}: a box has no time; give boxes with times, or a video that states them"
        )
    quality = np.ones(len(features.paths), np.float32)
    if boxes is not None:
        by_place = box_quality(boxes.corners, boxes.frames, size)
        place_of = {
            key: place for place, key in enumerate(zip(boxes.frames.tolist(), boxes.numbers.tolist()))
        }
        try:
            quality = by_place[[place_of[_place(path)] for path in features.paths]]
        except (KeyError, ValueError):
            raise DataError(
                f"{boxes.path}: the features were extracted from other boxes; give the boxes that they come from, or leave them out"
            ) from None
    times = np.where(features.times < EARLIEST_S, features.times + start_s, features.times)
    groups: dict[tuple[int, int], list[int]] = {}
    for row in np.flatnonzero(known).tolist():
        groups.setdefault((int(features.camids[row]), int(features.tracks[row])), []).append(row)
    tracks = []
    for (camera, number), rows in groups.items():
        source = features.paths[rows[0]].rpartition("#")[0]
        for part in _without_restarts([(float(times[row]), row) for row in rows]):
            tracks.append(
                Track(
                    camera,
                    str(number),
                    times[part],
                    features.features[part],
                    quality[part],
                    tuple(features.paths[row] for row in part),
                    source=source,
                )
            )
    return sorted(tracks, key=order_of)


def _without_restarts(crops: list[tuple[float, int]]) -> Iterator[list[int]]:
    """Yield the rows of one number of a tracker, given as pairs (seconds, row), in the order of their times: a list for each track."""
    crops.sort()
    start = 0
    for place in range(1, len(crops) + 1):
        if place == len(crops) or crops[place][0] - crops[place - 1][0] > RESTART_S:
            yield [row for _, row in crops[start:place]]
            start = place


def _place(path: str) -> tuple[int, int]:
    """Return the frame and the number of the box that a path names: `street.mp4#frame=12&box=3`."""
    frame, _, box = path.rpartition("#frame=")[2].partition("&box=")
    return int(frame), int(box)


def tracks_of_gallery(gallery: Gallery) -> tuple[list[Track], int]:
    """Return the tracks of the crops in a gallery, in the order of their ends, and the number of rows that are in none.

    A crop belongs to a track if it has a camera, a time and a track; its track is that of its `source`. A number that comes back after
    more than RESTART_S seconds is another track.
    """
    groups: dict[tuple[str, int, str], list[tuple[float, int]]] = {}
    left_out, ids = 0, gallery.ids()
    for start in range(0, len(ids), CHUNK):
        numbers = ids[start : start + CHUNK]
        for number, row in zip(numbers, gallery.rows(numbers)[0]):
            if row.source == SOURCE:
                continue
            if row.camera is None or row.time_us is None or row.track is None:
                left_out += 1
                continue
            groups.setdefault((row.source, row.camera, row.track), []).append((row.time_us / MILLION, number))
    tracks = list(_read_tracks(gallery, groups))
    return sorted(tracks, key=order_of), left_out


def _read_tracks(
    gallery: Gallery, groups: dict[tuple[str, int, str], list[tuple[float, int]]]
) -> Iterator[Track]:
    for (source, camera, name), crops in groups.items():
        time_of = {number: time_s for time_s, number in crops}
        for numbers in _without_restarts(crops):
            rows, features = gallery.rows(numbers)
            times = np.array([time_of[number] for number in numbers])
            evidence = tuple(row.path for row in rows)
            quality = np.ones(len(rows), np.float32)
            yield Track(camera, name, times, features, quality, evidence, rows=tuple(numbers), source=source)
