"""Read the videos of the check and the boxes of the people in them: the rendered sequence and Debian's vtest.avi."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# People of whom less than this is visible are not in the detections of a rendered sequence, and need not be tracked. Boxes with a
# side of less than SIDE pixels are left out.
VISIBILITY = 0.1
SIDE = 8


@dataclass(frozen=True)
class BoxedFrame:
    """The boxes of one frame; a clip has one for each of its frames.

    `number` counts from 0. `boxes` (N, 4) are x1 y1 x2 y2 in pixels, `scores` (N,) 0..1, and `people` (N,) their identities or None.
    """

    number: int
    boxes: np.ndarray
    scores: np.ndarray
    people: np.ndarray | None


@dataclass(frozen=True)
class Clip:
    """A video file, the boxes that a tracker gets for its frames, and the `truth`: exact boxes with people, or nothing.

    `name` says which clip it is, such as "camera1".
    """

    name: str
    video: Path
    frames: tuple[BoxedFrame, ...]
    truth: tuple[BoxedFrame, ...] = ()

    def pictures(self, frames: Sequence[BoxedFrame] | None = None) -> Iterator[tuple[BoxedFrame, np.ndarray]]:
        """Yield (boxes, pixels (H, W, 3) uint8 BGR) of each frame; `frames` are those with the tracker's boxes, or the `truth`."""
        import cv2

        capture = cv2.VideoCapture(str(self.video))
        for frame in self.frames if frames is None else frames:
            read, pixels = capture.read()
            if not read:
                raise SystemExit(f"{self.video}: frame {frame.number} cannot be read")
            yield frame, pixels


def sequence_clips(folder: Path, limit: int | None) -> list[Clip]:
    """Return one clip for each camera of a rendered sequence that sees people, with at most its first `limit` frames."""
    clips = []
    for video in sorted(folder.glob("camera*.mp4")):
        exact, detected = (_rows(video.with_suffix(f".{kind}.jsonl")) for kind in ("boxes", "detections"))
        count = max((row["frame"] for row in exact + detected), default=-1) + 1
        numbers = range(count if limit is None else min(count, limit))
        if exact:
            clips.append(Clip(video.stem, video, _frames(detected, numbers), _frames(exact, numbers)))
    return clips


def _rows(path: Path) -> list[dict]:
    rows = map(json.loads, path.read_text().splitlines())
    return [row for row in rows if _is_usable(row)]


def _is_usable(row: dict) -> bool:
    x1, y1, x2, y2 = row["box"]
    return row.get("visibility", 1) >= VISIBILITY and min(x2 - x1, y2 - y1) >= SIDE


def _frames(rows: list[dict], numbers: range) -> tuple[BoxedFrame, ...]:
    """Return the frames with these numbers, also those without boxes."""
    known = bool(rows) and "person" in rows[0]
    by_frame: dict[int, list[dict]] = {number: [] for number in numbers}
    for row in rows:
        if row["frame"] in by_frame:
            by_frame[row["frame"]].append(row)
    return tuple(
        BoxedFrame(
            number,
            np.array([row["box"] for row in kept], np.float64).reshape(-1, 4),
            np.array([row["confidence"] for row in kept], np.float64),
            np.array([row["person"] for row in kept], np.int64) if known else None,
        )
        for number, kept in by_frame.items()
    )


def mot_clip(name: str, video: Path, boxes: Path, limit: int | None) -> Clip:
    """Return the clip of a video and a MOT file (frames from 1; left, top, width, height; score)."""
    rows = np.loadtxt(boxes, delimiter=",", ndmin=2)
    frames = []
    for number in range(int(rows[:, 0].max())):
        here = rows[rows[:, 0] == number + 1]
        corners = np.concatenate([here[:, 2:4], here[:, 2:4] + here[:, 4:6]], axis=1)
        frames.append(BoxedFrame(number, corners, here[:, 6], None))
    return Clip(name, video, tuple(frames[:limit]))


def write_mot(path: Path, frames: Iterable[BoxedFrame]) -> None:
    """Write boxes as a MOT file."""
    lines = []
    for frame in frames:
        for (x1, y1, x2, y2), score in zip(frame.boxes, frame.scores):
            lines.append(f"{frame.number + 1},-1,{x1:.1f},{y1:.1f},{x2 - x1:.1f},{y2 - y1:.1f},{score:.2f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
