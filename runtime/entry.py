"""Run a command: `run_main` and `guarded` call a `main` and turn every error and signal into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module

from runtime.errors import DeviceError, StorageError, UserError
from runtime.stopping import Stopped, kill_children, received, stoppable, stopped
from runtime.wording import printable, shortened

# The most characters of an error line. A damaged file can hold a name of any length, and the reason must not scroll away.
LONGEST = 4000


def guarded(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run main(argv) and return its exit code; a UserError becomes one `error[CODE] ...` line on stderr and its own code.

    The code is 5 for a library that cannot be imported, 6 for a failed write (an OSError with no clearer cause), and 130, 143 or
    129 after SIGINT, SIGTERM or SIGHUP (`runtime.stopping`). Set REID_DEBUG=1 for the traceback.
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
    """Import the module and run its `main` inside `guarded`; return the exit code. A signal during the import stops it too."""
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
        hint = "install it; README.md says which extra of this project brings what"
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
