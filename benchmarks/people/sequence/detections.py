"""Make the detections of a camera from its exact boxes: some are missed, some shifted, and some show nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.people.sequence.boxes import Corners, Detection, PersonBox
from benchmarks.people.sequence.plan import LEAST_DETECTED, DetectionErrors
from benchmarks.people.sequence.streams import generator

# A false box is less certain than a true one.
FALSE_CONFIDENCE = 0.5


def detections(
    boxes: Sequence[PersonBox],
    errors: DetectionErrors,
    *,
    camera: int,
    times: Sequence[float],
    size: tuple[int, int],
) -> list[Detection]:
    """Return the detections of one camera, in the order of its frames.

    `boxes` are the camera's exact boxes, `times` the seconds of its frames, and `size` the (width, height) of the video. A person of
    whom less than LEAST_DETECTED is visible is not detected. A shifted box moves by up to a fifth of its size and changes its size by
    up to a fifth, inside the frame. A false box has the size of a random exact box, lies anywhere, and has FALSE_CONFIDENCE.
    """
    rng = generator(errors.seed, "detections", camera)
    by_frame: dict[int, list[PersonBox]] = {}
    for one in boxes:
        by_frame.setdefault(one.frame, []).append(one)
    out: list[Detection] = []
    for frame, time in enumerate(times):
        for one in by_frame.get(frame, ()):
            # Each box draws the same random numbers whatever the fractions are, so that more errors include the fewer.
            fate, draws = rng.random(), rng.uniform(-1, 1, 4)
            if one.visibility < LEAST_DETECTED or fate < errors.missed:
                continue
            box = _shifted(one.box, draws, size) if fate > 1 - errors.shifted else one.box
            out.append(Detection(frame, time, camera, box, one.confidence))
        for box in _false_boxes(boxes, errors, rng, size):
            out.append(Detection(frame, time, camera, box, FALSE_CONFIDENCE))
    return out


def _shifted(box: Corners, draws: Sequence[float] | np.ndarray, size: tuple[int, int]) -> Corners:
    x1, y1, x2, y2 = box
    wide, high = x2 - x1, y2 - y1
    x, y = (x1 + x2) / 2 + 0.2 * draws[0] * wide, (y1 + y2) / 2 + 0.2 * draws[1] * high
    return _clipped(x, y, wide * (1 + 0.2 * draws[2]), high * (1 + 0.2 * draws[3]), size)


def _clipped(x: float, y: float, wide: float, high: float, size: tuple[int, int]) -> Corners:
    edges = (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)
    limits = (*size, *size)
    x1, y1, x2, y2 = (round(float(min(max(edge, 0), limit)), 2) for edge, limit in zip(edges, limits))
    return x1, y1, x2, y2


def _false_boxes(
    boxes: Sequence[PersonBox], errors: DetectionErrors, rng: np.random.Generator, size: tuple[int, int]
) -> Iterator[Corners]:
    if not boxes or not errors.false_boxes:
        return
    for _ in range(int(rng.poisson(errors.false_boxes))):
        x1, y1, x2, y2 = boxes[int(rng.integers(len(boxes)))].box
        wide, high = x2 - x1, y2 - y1
        x, y = rng.uniform(wide / 2, size[0] - wide / 2), rng.uniform(high / 2, size[1] - high / 2)
        yield _clipped(x, y, wide, high, size)
