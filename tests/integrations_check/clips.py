"""Read the videos of the check and the boxes of the people in them: the rendered sequence and Debian's vtest.avi."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Boxes of people who are hidden more than this are left out, because no detector would find them.
VISIBILITY = 0.25


@dataclass(frozen=True)
class BoxedFrame:
    """The boxes of one frame: `number` from 0, `boxes` (N, 4) x1 y1 x2 y2 in pixels, `scores` (N,) 0..1, `people` (N,) or None."""

    number: int
    boxes: np.ndarray
    scores: np.ndarray
    people: np.ndarray | None


@dataclass(frozen=True)
class Clip:
    """A video file and the boxes of its frames, in order. `name` says which clip it is, such as "camera1"."""

    name: str
    video: Path
    frames: tuple[BoxedFrame, ...]

    def pictures(self) -> Iterator[tuple[BoxedFrame, np.ndarray]]:
        """Yield (boxes, pixels (H, W, 3) uint8 BGR) of each frame that has boxes listed."""
        import cv2

        capture = cv2.VideoCapture(str(self.video))
        listed = {frame.number: frame for frame in self.frames}
        for number in range(max(listed) + 1):
            read, pixels = capture.read()
            if not read:
                raise SystemExit(f"{self.video}: frame {number} cannot be read")
            if number in listed:
                yield listed[number], pixels


def sequence_clips(folder: Path, limit: int | None) -> list[Clip]:
    """Return one clip for each camera of a rendered sequence, at most its first `limit` frames."""
    return [
        Clip(video.stem, video, tuple(read_boxes(video.with_suffix(".boxes.jsonl"), limit)))
        for video in sorted(folder.glob("camera*.mp4"))
    ]


def read_boxes(path: Path, limit: int | None) -> Iterator[BoxedFrame]:
    """Yield the frames of a boxes.jsonl file, also those without people between the first and the last frame."""
    rows: dict[int, list[dict]] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        kept = rows.setdefault(row["frame"], [])
        if row.get("visibility", 1) >= VISIBILITY:
            kept.append(row)
    for number in range(max(rows) + 1 if limit is None else min(max(rows) + 1, limit)):
        kept = rows.get(number, [])
        yield BoxedFrame(
            number,
            np.array([row["box"] for row in kept], np.float64).reshape(-1, 4),
            np.array([row.get("confidence", 1) for row in kept], np.float64),
            np.array([row["person"] for row in kept], np.int64),
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
