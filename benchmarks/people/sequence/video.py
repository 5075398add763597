"""Write a video file with PyAV. Only this file of the generator imports av (the extra `video`)."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.backends.library import Library, importing

AV = Library("av", "pip install '.[video]'", "pip install --force-reinstall --no-deps av")

_OPTIONS = {"crf": "25", "preset": "slow"}


def check_av() -> None:
    """Raise DeviceError if av is not installed."""
    with importing(AV, needs=("open",)):
        import av  # noqa: F401


def write_video(
    path: Path, frames: Iterable[npt.NDArray[np.uint8]], *, fps: int, width: int, height: int
) -> None:
    """Write `frames` (height, width, 3) uint8 RGB as an H.264 video in an MP4 file."""
    with importing(AV, needs=("open",)):
        import av
    with av.open(str(path), "w", format="mp4") as container:
        # One thread, because the number of threads changes the file.
        stream = container.add_stream("libx264", rate=fps, options=_OPTIONS | {"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size, stream.time_base = 10 * fps, Fraction(1, fps)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
