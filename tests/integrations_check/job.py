"""What a check inside an environment gets, and the tracks that it gives back. Imports no tracker."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes.documents import ROOT, blocks
from tests.integrations_check.clips import Clip, mot_clip, sequence_clips

HOG = ROOT / "tests" / "data" / "vtest" / "hog.txt"
# [frame, index of the box in the frame, track]
Tracks = list[list[int]]
# (frame BGR, boxes (N, 4), scores (N,)) -> {index of the box: track}
Step = Callable[[np.ndarray, np.ndarray, np.ndarray], dict[int, Any]]
# settings of a tracker -> the step of a new tracker with them
Start = Callable[[dict[str, float]], Step]


@dataclass(frozen=True)
class Job:
    """The exported file, the folder of the rendered sequence, vtest.avi or None, and the largest number of frames of a clip."""

    model: str
    sequence: str
    vtest: str | None
    frames: int | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def sequence_clips(self) -> list[Clip]:
        return sequence_clips(Path(self.sequence), self.frames)

    def clips(self) -> list[Clip]:
        """The cameras of the sequence, and vtest if it is there."""
        clips = self.sequence_clips()
        if self.vtest:
            clips.append(mot_clip("vtest", Path(self.vtest), HOG, self.frames))
        return clips


def tracks_of(clips: list[Clip], start: Callable[[], Step]) -> dict[str, Tracks]:
    """Return the tracks of every clip; `start` makes a new tracker for each."""
    tracks = {}
    for clip in clips:
        step, rows = start(), []
        for frame, pixels in clip.pictures():
            found = step(pixels, frame.boxes.astype(np.float32), frame.scores.astype(np.float32))
            rows += [[frame.number, int(index), int(track)] for index, track in sorted(found.items())]
        tracks[clip.name] = rows
    return tracks


def sweep(job: Job, start: Start, grid: list[dict[str, float]]) -> dict[str, dict[str, Tracks]]:
    """Return {number of the settings in `grid`: the tracks of every camera of the sequence with them}."""
    clips = job.sequence_clips()
    return {
        str(number): tracks_of(clips, lambda settings=settings: start(settings))
        for number, settings in enumerate(grid)
    }


def adapter(package: str, model: str) -> dict[str, Any]:
    """Run the last code block for `package` in docs/trackers.md with the file `model`, and return its names."""
    text = (ROOT / "docs" / "trackers.md").read_text()
    found = [block for block in blocks(text, "python") if re.match(rf"# needs .*\b{package}\b", block)]
    names: dict[str, Any] = {}
    exec(compile(found[-1].replace('"M.onnx"', repr(model)), f"docs/trackers.md ({package})", "exec"), names)
    return names
