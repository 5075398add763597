"""What a video is read from: a file, the URL of a stream, or the number of a camera. Opens nothing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
# The part of a URL that may hold a name and a password.
CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")


@dataclass(frozen=True)
class Source:
    """A video: `address` is what the decoder opens, and `name` what people see, a URL without its password.

    `live` tells a stream or a camera, which is opened again when it is lost, from a file, which has an end. `format` is the name of
    the input format where the decoder must be told (a camera), else None.
    """

    name: str
    address: str
    live: bool = False
    format: str | None = None


def video_source(video: str | int | os.PathLike[str]) -> Source:
    """Return the source that `video` names: a whole number is a V4L2 camera, a text with "://" a stream, and else it is a file."""
    text = os.fspath(video) if not isinstance(video, int) else str(video)
    if text.isascii() and text.isdecimal():
        device = f"/dev/video{int(text)}"
        return Source(device, device, live=True, format="v4l2")
    if SCHEME.match(text):
        return Source(CREDENTIALS.sub("", text), text, live=True)
    # the prefix keeps a file name such as "concat:a" from being taken for a protocol
    return Source(text, f"file:{os.path.abspath(text)}")
