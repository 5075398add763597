"""Decode videos with PyAV, the library of FFmpeg. No other module imports it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.library import Library, importing
from runtime.errors import DataError
from runtime.video.frames import Lost
from runtime.video.source import Source
from runtime.wording import reason_of

LIBRARY = Library("av", "pip install '.[video]'", "pip install --force-reinstall -U av")
with importing(LIBRARY, needs=("open", "VideoFrame")):
    import av

# How long a stream may take to open, and how long it may send nothing, before it counts as lost.
OPEN_S, SILENT_S = 15.0, 10.0
# The largest frame that is converted, which is a little more than 8K.
MAX_PIXELS = 40_000_000


class DecodedFrame:
    """A decoded frame (`runtime.video.frames.Frame`). Its pixels are converted when `rgb` is called."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.time: float | None = frame.time

    def rgb(self) -> NDArray[np.uint8]:
        """Return the pixels, (H, W, 3) uint8 RGB, rotated upright as the video's metadata say."""
        if self._frame.width * self._frame.height > MAX_PIXELS:
            raise DataError(
                f"a frame of {self._frame.width}x{self._frame.height} is larger than {MAX_PIXELS // 10**6} megapixels"
            )
        pixels: NDArray[np.uint8] = self._frame.to_ndarray(format="rgb24")
        # in degrees against the clock; PyAV has it from version 14 on
        turns = round(getattr(self._frame, "rotation", 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def decode_frames(
    source: Source, note: Callable[[str], None] = lambda text: None
) -> Generator[DecodedFrame, None, None]:
    """Yield the frames of the source in the order in which they are shown. Packets that cannot be decoded are left out.

    When the reading ends, `note` gets a line about left-out packets. The generator ends at the end of a file. Raises Lost, with the
    reason, if the source cannot be opened or read, and at the end of a live source.
    """
    damaged = 0
    try:
        with closing(_open(source)) as container:
            # a recording has a duration, also one that a server sends
            live = source.live and not container.duration
            for packet in _packets(container, live):
                try:
                    frames = packet.decode()
                # the rest of the video may be good
                except (av.FFmpegError, ValueError):
                    damaged += 1
                    continue
                yield from map(DecodedFrame, frames)
        if live:
            raise Lost("the sender ended it", again=True)
    finally:
        if damaged:
            note(
                f"WARNING {source.name}: {damaged} damaged packets were left out, so the numbers of later frames may be too low"
            )


def _open(source: Source) -> Any:
    options = {}
    if not source.live:
        # a playlist may name other files, but nothing on a network
        options["protocol_whitelist"] = "file,crypto,data"
    elif source.address.lower().startswith("rtsp"):
        # UDP, the default, loses packets
        options["rtsp_transport"] = "tcp"
    timeout = (OPEN_S, SILENT_S) if source.live else None
    try:
        container = av.open(source.address, format=source.format, options=options, timeout=timeout)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Lost(_reason(error), again=source.live) from None
    if not container.streams.video:
        container.close()
        raise Lost("it has no video stream")
    if not source.live:
        # with a live source, threads for whole frames would delay them
        container.streams.video[0].thread_type = "AUTO"
    return container


def _packets(container: Any, live: bool) -> Iterator[Any]:
    try:
        yield from container.demux(container.streams.video[0])
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Lost(_reason(error), again=live) from None


def _reason(error: Exception) -> str:
    """Return why FFmpeg failed. Its message is not used, because it contains the address with the password."""
    if isinstance(error, av.error.ExitError):
        return "it sends no data"
    return reason_of(getattr(error, "strerror", None) or type(error).__name__)
