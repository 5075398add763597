"""Run the `main` function of a command, and turn its errors and signals into one line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module

from runtime.errors import DeviceError, StorageError, UserError
from runtime.stopping import Stopped, kill_children, received, stoppable, stopped
from runtime.wording import printable, shortened

# The most characters of an error line. A name in a damaged file can have any length, and would push the reason off the screen.
LONGEST = 4000


def guarded(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run `main(argv)` and return the exit code of the command.

    A UserError is printed as one line `error[CODE] ...` on stderr, and its CODE is the exit code. The exit code is 5 if a library
    cannot be imported, 6 for any other OSError, such as a failed write, and 130, 143 or 129 after SIGINT, SIGTERM or SIGHUP. It is 0
    if the reader of stdout has closed it. Any other exception is a fault of the program and is raised with its traceback. With
    REID_DEBUG=1 in the environment, every error is raised with its traceback.
    """
    try:
        with stoppable():
            return main(argv)
    except KeyboardInterrupt as error:
        return _stop(stopped(error))
    except Exception as error:
        # an interrupted library may raise any error
        if (number := received()) is not None:
            return _stop(Stopped(number))
        return _failed(error)


def run_main(module: str) -> int:
    """Import the module with the name `module`, run its `main` function by `guarded`, and return the exit code.

    The import runs inside `guarded` too, so that an error or a signal during the import is reported in the same way.
    """
    return guarded(lambda argv: int(import_module(module).main(argv)))


def _stop(stop: Stopped) -> int:
    if received() is not None:
        # the process is about to end, and no process that it started may survive it
        kill_children()
    # keep what was printed, even when a second signal arrives
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
        hint = "install it; README.md says which extra of this project contains it"
        return _report(error, f"a library cannot be used: {missing}; {hint}", DeviceError.code)
    if isinstance(error, BrokenPipeError):
        # The reader of stdout has gone away (head, less), so nobody can read a message.
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
