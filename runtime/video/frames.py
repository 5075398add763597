"""Number the frames of a video, and open a live source again when it is lost. Imports no library that decodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError
from runtime.video.source import Source


class Frame(Protocol):
    """A decoded frame. `time` is when it is shown, in seconds (its pts), or None if unknown."""

    time: float | None

    def rgb(self) -> NDArray[np.uint8]:
        """Return the pixels, (H, W, 3) uint8 RGB. Raises DataError for a frame that is too large."""
        ...


class Lost(Exception):
    """A video cannot be read, or not any further. The text is the reason.

    `again` tells a live source, whose next frames come after it is opened again, from a recording, which would begin anew.
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


Decode = Callable[[Source], Generator[Frame, None, None]]


@dataclass(frozen=True)
class Reopening:
    """How a live source is opened again when it is lost: at most `limit` times in succession.

    Before the first attempt, `first_s` seconds pass, and before each further one twice as many, but never more than `most_s`. A frame
    that arrives begins the count anew.
    """

    limit: int = 10
    first_s: float = 1.0
    most_s: float = 30.0

    def wait_s(self, attempt: int) -> float:
        """Return the seconds before the attempt with this number, from 1."""
        return min(self.first_s * 2.0 ** min(attempt - 1, 60), self.most_s)


@dataclass(frozen=True)
class NumberedFrame:
    """A frame with its 0-based number. `time` is that of the frame; after a loss, it goes on from the time before the loss."""

    number: int
    time: float | None
    frame: Frame


def read_frames(
    source: Source,
    decode: Decode,
    *,
    reopening: Reopening = Reopening(),
    note: Callable[[str], None] = lambda text: None,
    wait: Callable[[float], bool | None] = time.sleep,
) -> Generator[NumberedFrame, None, None]:
    """Yield the frames of the source, numbered from 0, and end where a file ends.

    `decode(source)` yields the frames from the beginning, and raises Lost. A live source is then opened again, as `reopening` says;
    its next frame gets the next number, because nobody knows how many were lost. `note` gets a line about each loss. `wait` passes
    the seconds before an attempt; the generator ends if it returns True. Raises DataError if the source gives no frame at all at
    first, and Lost where it cannot be read any further.
    """
    number, attempt, offset = 0, 0, 0.0
    # the time of the last frame, and when it came
    shown, came = 0.0, time.monotonic()
    while True:
        reopened = number > 0
        try:
            with closing(decode(source)) as frames:
                for frame in frames:
                    if reopened:
                        note(f"{source.name}: open again; the next frame has the number {number}")
                        if frame.time is not None:
                            offset = shown + time.monotonic() - came - frame.time
                    reopened, attempt = False, 0
                    at = None if frame.time is None else frame.time + offset
                    shown, came = shown if at is None else at, time.monotonic()
                    yield NumberedFrame(number, at, frame)
                    number += 1
            return
        except Lost as lost:
            if number == 0:
                raise DataError(
                    f"{source.name}: cannot be read as a video ({lost}); give a video file, the URL of a stream, or the number of "
                    "a camera"
                ) from None
            where = f"after frame {number - 1}"
            if not lost.again:
                raise Lost(f"the video cannot be read {where} ({lost})") from None
            attempt += 1
            if attempt > reopening.limit:
                raise Lost(f"the stream was lost {where} ({lost}), and was not opened again") from None
            pause = reopening.wait_s(attempt)
            note(
                f"{source.name}: lost {where} ({lost}); opening it again in {pause:g} s (attempt {attempt} of {reopening.limit})"
            )
        if wait(pause):
            return
