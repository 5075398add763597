"""The boxes of a sequence, and the files that hold them: JSON lines, and the ground truth of MOTChallenge."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.json_files import COUNT, NUMBER, PART, TEXT, listed, members, misfit, read_document
from runtime.errors import ConfigError
from runtime.files.json_text import parse_json
from runtime.wording import reason_of

Corners = tuple[float, float, float, float]
INDEX = "sequence.json"
ADVICE = "give a folder that benchmarks.people.sequence wrote"
# More frames than in two weeks at 60 frames a second are damage, and would fill the memory.
_FRAMES = {**COUNT, "maximum": 1e8}
_CAMERA = members(
    {
        "camera": COUNT,
        "video": TEXT,
        "boxes": TEXT,
        "detections": TEXT,
        "frames": _FRAMES,
        "start_time": NUMBER,
    }
)
_SEQUENCE = members(
    {
        "seed": NUMBER,
        "fps": COUNT,
        "width": COUNT,
        "height": COUNT,
        "people": COUNT,
        "cameras": listed(_CAMERA, least=1),
    }
)
_WHOLE = {"type": "integer", "minimum": 0, "maximum": 1e15}
_ROWS = listed(
    {
        **members(
            {
                "frame": _WHOLE,
                "time": NUMBER,
                "camera": COUNT,
                "track": COUNT,
                "box": listed(NUMBER, least=4, most=4),
                "confidence": PART,
                "person": COUNT,
                "visibility": PART,
            }
        ),
        "additionalProperties": False,
    }
)


@dataclass(frozen=True)
class Detection:
    """One box of a detector. `frame` counts from 0, `time` is in seconds, and `camera` counts from 1.

    `box` is x1, y1, x2, y2 in pixels, with x2 and y2 exclusive. `confidence` is 0..1.
    """

    frame: int
    time: float
    camera: int
    box: Corners
    confidence: float


@dataclass(frozen=True)
class PersonBox:
    """The exact box of a person in a frame, with the fields of `Detection`.

    The box holds the whole silhouette as far as it lies in the frame, also what is hidden. `track` is the passage of the person
    through the camera, unique in the sequence. `visibility` is the part of the silhouette that the frame shows, 0..1.
    """

    frame: int
    time: float
    camera: int
    track: int
    box: Corners
    confidence: float
    person: int
    visibility: float


def write_lines(path: Path, boxes: Iterable[Detection | PersonBox]) -> None:
    """Write one JSON object a line for each box, with the fields of its class."""
    path.write_text("".join(json.dumps(asdict(box)) + "\n" for box in boxes))


def read_person_boxes(path: Path) -> list[PersonBox]:
    """Return the boxes of a file that `write_lines` wrote from PersonBox. Raises ConfigError if it is missing or damaged."""
    rows = []
    try:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                rows.append(parse_json(line, finite=True))
            except ValueError as error:
                raise ValueError(f"line {number}: {reason_of(error)}") from None
        if wrong := misfit(rows, _ROWS):
            raise ValueError(wrong)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not the boxes of a sequence ({reason_of(error)}); {ADVICE}") from None
    return [PersonBox(**row | {"box": tuple(row["box"])}) for row in rows]


def read_sequence(root: Path) -> dict[str, Any]:
    """Return the content of the sequence.json in the folder `root`. Raises ConfigError if it is missing or damaged."""
    document: dict[str, Any] = read_document(
        root / INDEX, _SEQUENCE, expected="the description of a sequence", advice=ADVICE
    )
    return document


def write_ground_truth(path: Path, boxes: Sequence[PersonBox]) -> None:
    """Write the boxes as the ground truth of MOTChallenge.

    A line is: frame, person, left, top, width, height, 1, 1, visibility. Frames and pixels count from 1.
    """
    lines = []
    for one in boxes:
        x1, y1, x2, y2 = one.box
        place = ",".join(f"{value:g}" for value in (x1 + 1, y1 + 1, x2 - x1, y2 - y1))
        lines.append(f"{one.frame + 1},{one.person},{place},1,1,{one.visibility:g}\n")
    path.write_text("".join(lines))
