"""Read a line of MOTChallenge text, as its detections, ground truth and the results of trackers have it.

A line is `frame,id,left,top,width,height,...`, where the frame and the pixel in the left upper corner count from 1. This module
converts them to a frame and to corners that count from 0: x1 = left - 1, y1 = top - 1, x2 = x1 + width, y2 = y1 + height.
"""

from __future__ import annotations

import re

from runtime.video.row import BadLine, LeftOut, Row, whole

FIELDS = ("frame", "id", "left", "top", "width", "height")
# The ground truth of MOT16, MOT17 and MOT20 has nine fields; the seventh is 0 for what an evaluation does not consider.
GROUND_TRUTH, CONSIDERED = 9, 6
IGNORED = "the ground truth says not to consider them (seventh field 0)"


def is_mot(line: str) -> bool:
    """Return whether the line begins with the six numbers of MOTChallenge text."""
    values = _values(line)
    return len(values) >= len(FIELDS) and all(value is not None for value in values[: len(FIELDS)])


def parse_line(line: str) -> Row:
    """Return the box of a line. Raises BadLine, with the reason, if it has none, and LeftOut for what is not to be considered."""
    values = _values(line)
    numbers: list[float] = [value for value in values[: len(FIELDS)] if value is not None]
    if len(numbers) < len(FIELDS):
        raise BadLine(f"not {', '.join(FIELDS)}")
    if len(values) == GROUND_TRUTH and values[CONSIDERED] == 0:
        raise LeftOut(IGNORED)
    frame, track, left, top, width, height = numbers
    return Row(
        frame=whole(frame, "frame", least=1) - 1,
        box=(left - 1, top - 1, left - 1 + width, top - 1 + height),
        # detections without a track have the number -1
        track=whole(track, "id"),
    )


def _values(line: str) -> list[float | None]:
    """Return the numbers of a line, which commas or blanks separate; None for what is no number."""
    return [_number(field) for field in re.split(r"\s*,\s*|\s+", line.strip())]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
