"""The errors that end a command, each with its exit code: `UserError` and its subclasses.

`runtime.entry` runs commands and turns these errors into exit codes.
"""

from __future__ import annotations

from typing import Any


class UserError(Exception):
    """A mistake that a person can correct; the message says in one line what, where and what to do next. Exit code 2."""

    code = 2


class ConfigError(UserError):
    """Wrong usage or configuration. Exit code 2."""


class DataError(UserError):
    """The input data are invalid, or too few of them are usable. Exit code 3."""

    code = 3


class ArtifactError(UserError):
    """A model file or feature file is missing, damaged, of the wrong kind, or does not match its manifest. Exit code 4."""

    code = 4


class DeviceError(UserError):
    """A device or library that a command needs is missing or fails, or the device is out of memory. Exit code 5."""

    code = 5


class StorageError(UserError):
    """A file cannot be written, for example because the disk is full or read-only. Exit code 6."""

    code = 6


class GateError(UserError):
    """A model failed the quality gate: its features differ too much from those of the torch model. Exit code 7."""

    code = 7


class NonFiniteFeatures(GateError):
    """A model gave NaN or infinite features. Exit code 7.

    `rows` are the 0-based indices of the affected images. `Model.embed` counts them among its crops, and `Model.embed_boxes` among the
    boxes that are not empty. A session and the extraction of files count them within the batch that failed. In the extraction of
    files, the message also names the first affected file.
    """

    def __init__(self, text: str, rows: tuple[int, ...]) -> None:
        super().__init__(text)
        self.rows = rows

    def __reduce__(self) -> tuple[Any, ...]:
        # pickle calls this to send the error from a worker process; the default would lose `rows`
        return type(self), (str(self), self.rows)


class OutOfMemory(DeviceError):
    """The device has too little memory for a batch of this size; a smaller batch may fit. Exit code 5."""
