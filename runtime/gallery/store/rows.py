"""`Row`, what a gallery records about an image beside its feature, and the checksum over both."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Any

# The columns of a row in SQLite, in the order of `from_record`.
COLUMNS = "sha256, source, camera, time_us, track, person, path"


@dataclass(frozen=True)
class Row:
    """One image of a gallery.

    `sha256` identifies the image (64 hexadecimal digits), and `source` names where it comes from; an image is stored once for each
    source. `camera` is a 0-based number, `time_us` the time in microseconds since 1970 (UTC), `track` and `person` are names, and
    None means unknown. `path` is the image file, or "".
    """

    sha256: str
    source: str = ""
    camera: int | None = None
    time_us: int | None = None
    track: str | None = None
    person: str | None = None
    path: str = ""

    def record(self) -> tuple[Any, ...]:
        """Return the values of COLUMNS for SQLite. The path becomes bytes, because a file name need not be UTF-8."""
        return (
            bytes.fromhex(self.sha256),
            self.source,
            self.camera,
            self.time_us,
            self.track,
            self.person,
            os.fsencode(self.path),
        )


def from_record(record: tuple[Any, ...]) -> Row:
    """Return the Row of the values of COLUMNS. Raises ValueError for values that no Row has."""
    sha256, source, camera, time_us, track, person, path = record
    if not isinstance(sha256, bytes) or not isinstance(path, bytes):
        raise ValueError("a row has values of the wrong type")
    return Row(sha256.hex(), source, camera, time_us, track, person, os.fsdecode(path))


def checksum(record: tuple[Any, ...], feature: int) -> int:
    """Return the CRC-32 of a feature's bytes, whose own CRC-32 is `feature`, and of the values of COLUMNS that belong to it.

    -1 for values that no Row has.
    """
    sha256, source, camera, time_us, track, person, path = record
    if not isinstance(sha256, bytes) or not isinstance(path, bytes):
        return -1
    labels = f"{source}\0{camera}\0{time_us}\0{track}\0{person}\0".encode(errors="surrogatepass")
    return zlib.crc32(b"".join((labels, sha256, path)), feature)


def calibration_checksum(kind: str, record: str) -> int:
    """Return the CRC-32 of a calibration: of its kind and its record."""
    return zlib.crc32(f"{kind}\0{record}".encode(errors="surrogatepass"))
