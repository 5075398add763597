"""Find people in Debian's vtest.avi with OpenCV's HOG detector, and write their boxes as a MOT file.

This was run once, with opencv-python 4.14.0; OpenCV 5 has no HOGDescriptor. The checks read the file that it wrote.
`python -m tests.integrations_check.hog VTEST.AVI --out tests/data/vtest/hog.txt`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from tests.integrations_check.clips import BoxedFrame, write_mot

# The video has 795 frames, ten a second.
FRAMES = 250
SCORE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    capture = cv2.VideoCapture(str(arguments.video))
    frames = []
    for number in range(FRAMES):
        read, frame = capture.read()
        if not read:
            break
        # people in this video are smaller than the 64 x 128 pixels of the detector
        enlarged = cv2.resize(frame, None, fx=1.25, fy=1.25)
        boxes, scores = detector.detectMultiScale(enlarged, winStride=(8, 8), padding=(8, 8), scale=1.1)
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4) / 1.25
        scores = np.asarray(scores, np.float64).reshape(-1)
        kept = without_overlaps(boxes, scores)
        corners = np.concatenate([boxes[kept, :2], boxes[kept, :2] + boxes[kept, 2:]], axis=1)
        # the scores are distances to a plane; 1 and more count as certain
        frames.append(BoxedFrame(number, corners, np.clip(scores[kept], 0, 1), None))
    write_mot(arguments.out, frames)
    print(f"{arguments.out}: {sum(len(frame.boxes) for frame in frames)} boxes in {len(frames)} frames")


def without_overlaps(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Return the rows of the boxes (x, y, width, height) of at least SCORE that no better box covers by half."""
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if scores[row] < SCORE:
            continue
        x, y, width, height = boxes[row]
        others = boxes[kept].reshape(-1, 4)
        wide = np.minimum(others[:, 0] + others[:, 2], x + width) - np.maximum(others[:, 0], x)
        high = np.minimum(others[:, 1] + others[:, 3], y + height) - np.maximum(others[:, 1], y)
        common = np.clip(wide, 0, None) * np.clip(high, 0, None)
        if not (common > 0.5 * np.minimum(width * height, others[:, 2] * others[:, 3])).any():
            kept.append(int(row))
    return kept


if __name__ == "__main__":
    main()
