"""What can go wrong, as exit codes. Knows nothing of models or images."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from runtime.stopping import Stopped, kill_children, received, stoppable, stopped
from runtime.wording import printable, shortened

# A damaged file can hold a name of any length; what is wrong with it must not scroll away.
LONGEST = 4000


class UserError(Exception):
    """A mistake a person can mend: one line that says what, where and what to do next. Exit code 2."""

    code = 2


class ConfigError(UserError):
    """Wrong usage or configuration. Exit code 2."""


class DataError(UserError):
    """Bad input data: nothing usable, or too much of it bad. Exit code 3."""

    code = 3


class ArtifactError(UserError):
    """A model file that is missing, damaged, of another kind or does not match its manifest. Exit code 4."""

    code = 4


class DeviceError(UserError):
    """The device asked for is not there, or out of memory. Exit code 5."""

    code = 5


class StorageError(UserError):
    """Output that cannot be written: disk full, read-only. Exit code 6."""

    code = 6


class GateError(UserError):
    """A quality gate failed; no artifact was left behind. Exit code 7."""

    code = 7


def guarded(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run main(argv); turn a UserError into one `error[CODE] ...` line on stderr and its exit code.

    A library that cannot be imported ends 5, SIGINT 130, SIGTERM 143, SIGHUP 129 (`runtime.stopping`), a failed write (OSError with no
    clearer cause) 6. Set REID_DEBUG=1 for the traceback.
    """
    try:
        with stoppable():
            return main(argv)
    except KeyboardInterrupt as error:
        return _stop(stopped(error))
    except Exception as error:
        # a library that was interrupted raises what it likes
        if (number := received()) is not None:
            return _stop(Stopped(number))
        return _failed(error)


def command(module: str) -> int:
    """The exit code of `main` in the module of that name, which is imported inside `guarded`: an import can be stopped as well."""
    return guarded(lambda argv: int(import_module(module).main(argv)))


def _stop(stop: Stopped) -> int:
    if received() is not None:
        # the process is about to end, and nothing that it started may stay
        kill_children()
    # what was printed is kept, also where a second signal comes
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    if stop.kept:
        print(printable(stop.kept), file=sys.stderr)
    return _report(stop, "stopped", stop.code)


def _failed(error: Exception) -> int:
    if isinstance(error, UserError):
        return _report(error, str(error), error.code)
    if isinstance(error, ImportError):
        missing = f"{error.name} is not installed" if isinstance(error, ModuleNotFoundError) else str(error)
        hint = "install it; README.md says which extra of this project brings what"
        return _report(error, f"a library cannot be used: {missing}; {hint}", DeviceError.code)
    if isinstance(error, BrokenPipeError):
        # The reader of our stdout went away (head, less); nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, OSError):
        return _report(error, f"{error.filename or 'storage'}: {error.strerror or error}", StorageError.code)
    raise error


def _report(error: BaseException, text: str, code: int) -> int:
    if os.environ.get("REID_DEBUG"):
        raise error
    print(shortened(printable(f"error[{code}] {text}"), LONGEST), file=sys.stderr)
    return code


class NonFiniteFeatures(GateError):
    """A session gave NaN or infinite features; `rows` are their places in the batch. Exit code 7."""

    def __init__(self, text: str, rows: tuple[int, ...]) -> None:
        super().__init__(text)
        self.rows = rows

    def __reduce__(self) -> tuple[Any, ...]:
        # so that it comes out of a worker process whole
        return type(self), (str(self), self.rows)


class OutOfMemory(DeviceError):
    """The device has no memory for a batch of this size; a smaller one may fit. Exit code 5."""
