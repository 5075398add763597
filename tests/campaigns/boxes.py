"""Damaged files of boxes, JSON lines and MOTChallenge text, which are read as `extract --video` reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from runtime.video.boxes import read_boxes
from tests.campaigns.mutate import damaged, json_text, tree_damaged

ROWS: list[dict[str, Any]] = [
    {
        "frame": number // 3,
        "time": 1764288000.5 + number,
        "camera": 2,
        "track": number % 3,
        "person": 7,
        "box": [number * 9.5, 10, number * 9.5 + 40, 110],
        "confidence": 0.9,
    }
    for number in range(12)
]
MOT = "".join(f"{number // 3 + 1},{number % 3},{number * 9.5},11,40,100,1,-1,-1,-1\n" for number in range(12))


def prepare(folder: Path) -> None:
    """Nothing is needed: the undamaged files are small texts."""


def make(material: None, random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    """Write one damaged file. Return a command that reads it, and whether it must refuse it."""
    path = folder / "boxes.bin"
    lines = [json.dumps(row) for row in ROWS]
    if random.random() < 0.5:
        text = MOT if random.random() < 0.5 else "\n".join(lines)
        path.write_bytes(damaged(text.encode(), random))
    else:
        number = random.randrange(len(lines))
        lines[number] = json_text(tree_damaged(ROWS[number], random), random)
        path.write_bytes("\n".join(lines).encode(errors="surrogatepass"))
    return lambda: _read(path), False


def _read(path: Path) -> int:
    boxes = read_boxes(path)
    assert len(boxes) and len(boxes.corners) == len(boxes.tracks) == len(boxes.lines) == len(boxes)
    assert (boxes.frames[1:] >= boxes.frames[:-1]).all() and boxes.frames[0] >= 0
    return 0
