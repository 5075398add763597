"""Extract the features of the boxes of people in a video. While the model runs, a thread decodes and cuts the next frames."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Artifact
from runtime.datasets.cameras import camera_ids, resolve_policy
from runtime.errors import DataError
from runtime.extraction.extract import TooManyBad, Unfinished, collect
from runtime.extraction.parts import Chunk, Crop, Part, crop_parts
from runtime.extraction.prefetch import prefetch
from runtime.features import Features
from runtime.images.boxes import crop_views
from runtime.images.decode import MIN_SIDE
from runtime.images.preprocess import resize
from runtime.images.skipped import Skipped
from runtime.spec import InputSpec
from runtime.video.boxes import Boxes
from runtime.video.frames import Lost, NumberedFrame

# How many chunks of crops, each of the size of a batch, may wait for the model.
AHEAD = 2

Read = Callable[[Callable[[float], bool]], Generator[NumberedFrame, None, None]]
"""A function that yields the frames of a video. Its parameter is the `wait` of `runtime.video.frames.read_frames`."""


@dataclass(frozen=True)
class Box:
    """A box as an item of an extraction: `path` names it, and `pid` and `camid` are its person and camera, -1 if unknown."""

    path: str
    pid: int = -1
    camid: int = -1


@dataclass(frozen=True)
class VideoFlow:
    """How the boxes of a video are extracted: `batch` boxes per run of the model, and `workers` threads that resize (None: up to 4).

    `policy` is a camera policy (`runtime.datasets.cameras.resolve_policy`), with the cameras of the boxes as the 0-based camera ids.
    """

    batch: int = 16
    workers: int | None = None
    policy: str | int | None = None


def extract_boxes(
    artifact: Artifact,
    name: str,
    read: Read,
    boxes: Boxes,
    *,
    flow: VideoFlow,
    max_bad: float = 0.01,
    progress: Callable[[int], None] = lambda count: None,
) -> Features:
    """Return the features of the usable boxes of a video, sorted by frame; `.skipped` lists the others.

    `name` is that of the video, for the paths of the boxes. `read` yields its frames, and may raise Lost. They are read in a thread,
    and closed after the last frame that has a box, or when the extraction ends early. A box gets its time from `boxes`, or else from
    its frame. `progress` is called again and again with the number of boxes done since the last call.

    Raises ConfigError for a camera policy that the model cannot follow. Raises TooManyBad, Unfinished, NonFiniteFeatures and the
    errors of the model as `runtime.extraction.extract.extract` does.
    """
    places = zip(
        boxes.frames.tolist(), boxes.numbers.tolist(), boxes.persons.tolist(), boxes.cameras.tolist()
    )
    items = [Box(f"{name}#frame={frame}&box={box}", pid, camid) for frame, box, pid, camid in places]
    items += [Box(f"{boxes.path}#line={line}") for line, _ in boxes.bad]
    ids, remark = camera_ids([item.camid for item in items], artifact.spec, policy=flow.policy)
    policy = resolve_policy(artifact.spec, policy=flow.policy, dataset=None)
    stopped = threading.Event()
    cutter = _Cutter(items, boxes, artifact.spec, flow, stopped)

    def parts() -> Generator[Part, None, None]:
        frames = cutter.chunks(read(stopped.wait))
        with closing(prefetch(frames, count=AHEAD, stopped=stopped)) as chunks:
            yield from crop_parts(artifact, items, chunks, batch=flow.batch, camera_ids=ids)

    def finished(features: Features) -> Features:
        rows = np.array([cutter.row_of[path] for path in features.paths], np.int64)
        return replace(
            features,
            camera=str(policy),
            frames=boxes.frames[rows],
            times=cutter.times[rows],
            tracks=boxes.tracks[rows],
            notes=(*boxes.notes, *([remark] if remark else []), *features.notes),
        )

    try:
        features = collect(artifact, items, parts(), max_bad=max_bad, progress=progress, noun="boxes")
    except TooManyBad as error:
        raise TooManyBad(str(error), finished(error.features)) from None
    except Unfinished as stop:
        raise Unfinished(stop.number, finished(stop.features), stop.total) from None
    return finished(features)


class _Cutter:
    """Cuts the boxes out of the frames. `times` (N,) are filled while the frames arrive. The event `stopped` ends the reading."""

    def __init__(
        self, items: Sequence[Box], boxes: Boxes, spec: InputSpec, flow: VideoFlow, stopped: threading.Event
    ) -> None:
        self._items = items
        self._boxes = boxes
        self._spec = spec
        self._flow = flow
        self._stopped = stopped
        self.times = boxes.times.copy()
        self.row_of = {item.path: row for row, item in enumerate(items)}

    def chunks(self, frames: Generator[NumberedFrame, None, None]) -> Generator[Chunk, None, None]:
        """Yield the crops of all boxes, `batch` boxes in each chunk. Runs in a thread."""
        chunk: list[tuple[int, Crop | Skipped]] = []
        for entry in self._entries(frames):
            chunk.append(entry)
            if len(chunk) == self._flow.batch:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _entries(
        self, frames: Generator[NumberedFrame, None, None]
    ) -> Generator[tuple[int, Crop | Skipped], None, None]:
        for row, (_, reason) in enumerate(self._boxes.bad, len(self._boxes)):
            yield row, Skipped(self._items[row].path, reason)
        row, reason = 0, "the video has no frame"
        workers = self._flow.workers or min(4, os.cpu_count() or 1)
        with closing(frames), ThreadPoolExecutor(workers, thread_name_prefix="resize") as pool:
            try:
                while row < len(self._boxes) and (frame := next(frames, None)) is not None:
                    # frames without boxes give no chunk, so nothing else would end the reading of a stream
                    if self._stopped.is_set():
                        return
                    reason = f"the video ends after frame {frame.number}"
                    end = int(np.searchsorted(self._boxes.frames, frame.number, side="right"))
                    yield from pool.map(self._crop, range(row, end), self._views(row, end, frame))
                    row = end
            except Lost as lost:
                reason = str(lost)
        for left in range(row, len(self._boxes)):
            yield left, self._skipped(left, reason)

    def _views(self, row: int, end: int, frame: NumberedFrame) -> list[NDArray[np.uint8] | str]:
        """Return the part of the frame in each of the boxes `row` to `end` - 1, or the reason why there is none."""
        if row == end:
            return []
        times = self.times[row:end]
        times[np.isnan(times)] = np.nan if frame.time is None else frame.time
        try:
            # only frames with boxes are converted
            pixels = frame.frame.rgb()
        except DataError as error:
            return [str(error)] * (end - row)
        corners = self._boxes.corners[row:end]
        size = f"the frame, which is {pixels.shape[1]}x{pixels.shape[0]}"
        small = f"less than {MIN_SIDE} pixels wide or high inside {size}"
        return [
            view
            if view is not None
            else small
            if np.isfinite(box).all()
            else "a corner is not a finite number"
            for view, box in zip(crop_views(pixels, corners, min_side=MIN_SIDE), corners)
        ]

    def _crop(self, row: int, view: NDArray[np.uint8] | str) -> tuple[int, Crop | Skipped]:
        if isinstance(view, str):
            return row, self._skipped(row, view)
        return row, Crop(row, resize(view, self._spec))

    def _skipped(self, row: int, reason: str) -> Skipped:
        return Skipped(
            self._items[row].path, f"{reason} (line {self._boxes.lines[row]} of {self._boxes.path})"
        )
