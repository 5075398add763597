"""Read the boxes of the people in a video from a file: JSON lines, or text in the format of MOTChallenge (`runtime.video.mot`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError
from runtime.files.json_text import parse_json
from runtime.video import mot
from runtime.video.row import BadLine, LeftOut, Row, is_number, whole

EXPECTED = (
    'expected JSON lines such as {"frame": 0, "track": 5, "box": [x1, y1, x2, y2]} (0-based frame, pixels), or MOTChallenge text '
    "such as 1,5,100,50,40,90,1,-1,-1,-1"
)


@dataclass(frozen=True)
class Boxes:
    """The boxes of people in a video, sorted by frame. All arrays have one row for each of the N boxes.

    `frames` (N,) int64 are 0-based. `corners` (N, 4) float64 are x1, y1, x2, y2 in pixels, where a pixel covers the range from its
    0-based number to the next number. `times` (N,) float64 are in seconds, NaN if unknown. `cameras`, `tracks` and `persons` (N,)
    int64 are the numbers in the file, -1 if unknown. `numbers` (N,) int64 is the 0-based place of a box among those of its frame, and
    `lines` (N,) int64 the 1-based number of its line. `bad` has (line, reason) of the lines that cannot be used, and `notes` are
    sentences for the user.
    """

    path: str
    frames: NDArray[np.int64]
    corners: NDArray[np.float64]
    times: NDArray[np.float64]
    cameras: NDArray[np.int64]
    tracks: NDArray[np.int64]
    persons: NDArray[np.int64]
    numbers: NDArray[np.int64]
    lines: NDArray[np.int64]
    bad: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)


def read_boxes(path: str | os.PathLike[str]) -> Boxes:
    """Return the boxes in the file at `path`. Its first line with content says whether it has JSON lines or MOTChallenge text.

    A JSON line is an object. It needs `frame`, a whole number from 0, and `box`, [x1, y1, x2, y2] in pixels, x2 and y2 exclusive.
    It may have `time` in seconds, and the whole numbers `camera`, `track` and `person`. Other keys, such as `confidence`, are
    ignored. Lines that cannot be used are listed in `bad`. Raises DataError if the file cannot be read, is of neither kind, or has no
    box at all.
    """
    name = os.fspath(path)
    try:
        with open(name, encoding="utf-8-sig", errors="replace") as file:
            return _boxes(name, enumerate(file, 1))
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}); give a file of boxes") from None


def parse_line(text: str) -> Row:
    """Return the box of a JSON line. Raises BadLine, with the reason, if it has none."""
    try:
        fields = parse_json(text)
    except ValueError:
        raise BadLine("not JSON") from None
    if not isinstance(fields, dict):
        raise BadLine("not a JSON object")
    box = fields.get("box")
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
        raise BadLine("box is not [x1, y1, x2, y2]")
    time = fields.get("time")
    if time is not None and not (is_number(time) and np.isfinite(float(time))):
        raise BadLine("time is not a number of seconds")
    left, top, right, bottom = map(float, box)
    return Row(
        frame=whole(fields.get("frame"), "frame", least=0),
        box=(left, top, right, bottom),
        time=float("nan") if time is None else float(time),
        **{
            name: -1 if fields.get(name) is None else whole(fields[name], name)
            for name in ("camera", "track", "person")
        },
    )


def _boxes(name: str, lines: Iterable[tuple[int, str]]) -> Boxes:
    lines = ((number, line) for number, line in lines if line.strip())
    first = next(iter(lines), None)
    if first is None:
        raise DataError(f"{name}: is empty; {EXPECTED}")
    parse = _parser(name, *first)
    rows: list[Row] = []
    places: list[int] = []
    bad: list[tuple[int, str]] = []
    left_out: dict[str, int] = {}
    for number, line in chain([first], lines):
        try:
            row = parse(line)
        except BadLine as error:
            bad.append((number, str(error)))
        except LeftOut as reason:
            left_out[str(reason)] = left_out.get(str(reason), 0) + 1
        else:
            rows.append(row)
            places.append(number)
    if not rows:
        reasons = [f"line {bad[0][0]}: {bad[0][1]}"] if bad else list(left_out)
        raise DataError(f"{name}: has no box ({reasons[0]}); {EXPECTED}")
    notes = tuple(f"{name}: {count} lines were left out: {reason}" for reason, count in left_out.items())
    return _sorted(name, rows, places, bad=tuple(bad), notes=notes)


def _parser(name: str, number: int, line: str) -> Callable[[str], Row]:
    """Return the function that parses the lines of a file whose first line with content is `line`, with this `number`."""
    if line.lstrip().startswith("{"):
        return parse_line
    if mot.is_mot(line):
        return mot.parse_line
    raise DataError(f"{name}: line {number} is neither JSON nor MOTChallenge text; {EXPECTED}")


def _sorted(
    name: str,
    rows: list[Row],
    places: list[int],
    *,
    bad: tuple[tuple[int, str], ...],
    notes: tuple[str, ...],
) -> Boxes:
    frames = np.array([row.frame for row in rows], np.int64)
    order = np.argsort(frames, kind="stable")
    frames = frames[order]
    # the first box of each frame is where the frame begins
    numbers = np.arange(len(frames)) - np.searchsorted(frames, frames)

    def column(field: str) -> NDArray[np.int64]:
        return np.array([getattr(row, field) for row in rows], np.int64)[order]

    return Boxes(
        path=name,
        frames=frames,
        corners=np.array([row.box for row in rows], np.float64)[order],
        times=np.array([row.time for row in rows], np.float64)[order],
        cameras=column("camera"),
        tracks=column("track"),
        persons=column("person"),
        numbers=numbers.astype(np.int64),
        lines=np.array(places, np.int64)[order],
        bad=bad,
        notes=notes,
    )
