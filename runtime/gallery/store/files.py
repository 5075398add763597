"""Durable file operations: everything that a gallery writes outside SQLite passes through this module."""

from __future__ import annotations

import os
from pathlib import Path


def write_at(file: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` to the open file at `offset`. Raises OSError, for example when the disk is full."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def sync_data(file: int) -> None:
    """Wait until the content and the size of the open file are on the disk."""
    getattr(os, "fdatasync", os.fsync)(file)


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk: a new file can otherwise vanish in a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def truncate(file: int, size: int) -> None:
    """Cut the open file to `size` bytes, and wait until this is on the disk."""
    os.ftruncate(file, size)
    sync_data(file)


def remove(path: Path) -> None:
    """Remove a file. It is no error if it does not exist."""
    path.unlink(missing_ok=True)
