"""The errors that end a command, each with its exit code: `UserError` and its kinds.

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
    """Bad input data: nothing of it is usable, or too much is not. Exit code 3."""

    code = 3


class ArtifactError(UserError):
    """A model file that is missing, damaged, of another kind or does not match its manifest. Exit code 4."""

    code = 4


class DeviceError(UserError):
    """The device that was asked for is missing, or out of memory. Exit code 5."""

    code = 5


class StorageError(UserError):
    """Output cannot be written: the disk is full or read-only. Exit code 6."""

    code = 6


class GateError(UserError):
    """A quality gate failed; no artifact was left behind. Exit code 7."""

    code = 7


class NonFiniteFeatures(GateError):
    """A session returned NaN or infinite features; `rows` are their rows in the batch. Exit code 7."""

    def __init__(self, text: str, rows: tuple[int, ...]) -> None:
        super().__init__(text)
        self.rows = rows

    def __reduce__(self) -> tuple[Any, ...]:
        # so that the error keeps its rows when it leaves a worker process
        return type(self), (str(self), self.rows)


class OutOfMemory(DeviceError):
    """The device has no memory for a batch of this size; a smaller one may fit. Exit code 5."""
