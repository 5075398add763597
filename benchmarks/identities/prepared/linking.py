"""Link the detections of a video to tracks, with the tracker ByteTrack of the package `trackers`. Only this file imports it.

The tracker sees boxes only. It loses people behind objects and mistakes one for another, as trackers do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.backends.library import Library, importing

TRACKERS = Library("trackers", "pip install '.[measure]'", "pip install --force-reinstall --no-deps trackers")
# A lost track is continued within so many seconds.
PATIENCE_S = 1.0


def link(
    frames: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], *, fps: int
) -> list[NDArray[np.int64]]:
    """Return the number of the track (N,) of each of the N detections of each frame, -1 where the tracker gives none.

    `frames` has (boxes (N, 4) in pixels, scores (N,) 0..1) of every frame of the video, also of those without boxes.
    """
    with importing(TRACKERS, needs=("ByteTrackTracker",)):
        import supervision
        from trackers import ByteTrackTracker
    tracker = ByteTrackTracker(
        frame_rate=float(fps), lost_track_buffer=round(30 * PATIENCE_S), minimum_consecutive_frames=2
    )
    tracks = []
    for boxes, scores in frames:
        detections = supervision.Detections(
            xyxy=boxes.astype(np.float32).reshape(-1, 4),
            confidence=scores.astype(np.float32),
            class_id=np.zeros(len(boxes), np.int64),
            data={"index": np.arange(len(boxes))},
        )
        tracked = tracker.update(detections)
        numbers = np.full(len(boxes), -1, np.int64)
        if len(tracked) and tracked.tracker_id is not None:
            numbers[tracked.data["index"]] = tracked.tracker_id
        tracks.append(numbers)
    return tracks
