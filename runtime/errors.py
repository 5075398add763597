"""What can go wrong, as exit codes. Knows nothing of models or images."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from runtime.wording import printable, shortened

# A damaged file can hold a name of any length; what is wrong with it must not scroll away.
LONGEST = 4000


class Refusal(Exception):
    """A mistake a person can mend: one line that says what, where and what to do next. Exit code 2."""

    code = 2


class ConfigError(Refusal):
    """Wrong usage or configuration. Exit code 2."""


class DataError(Refusal):
    """Bad input data: nothing usable, or too much of it bad. Exit code 3."""

    code = 3


class ArtifactError(Refusal):
    """A model file that is missing, damaged, of another kind or does not match its manifest. Exit code 4."""

    code = 4


class DeviceError(Refusal):
    """The device asked for is not there, or out of memory. Exit code 5."""

    code = 5


class StorageError(Refusal):
    """Output that cannot be written: disk full, read-only. Exit code 6."""

    code = 6


class GateError(Refusal):
    """A quality gate failed; no artifact was left behind. Exit code 7."""

    code = 7


def guarded(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run main(argv); turn a Refusal into one `error[CODE] ...` line on stderr and its exit code.

    A library that cannot be imported ends 5, a KeyboardInterrupt 130, a failed write (OSError with no clearer cause) 6.
    Set REID_DEBUG=1 for the traceback.
    """
    try:
        return main(argv)
    except Refusal as refusal:
        return _report(refusal, str(refusal), refusal.code)
    except ImportError as error:
        missing = f"{error.name} is not installed" if isinstance(error, ModuleNotFoundError) else str(error)
        hint = "install it; README.md says which extra of this project brings what"
        return _report(error, f"a library cannot be used: {missing}; {hint}", DeviceError.code)
    except KeyboardInterrupt as stop:
        return _report(stop, "stopped", 130)
    except BrokenPipeError:
        # The reader of our stdout went away (head, less); nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _report(error, f"{error.filename or 'storage'}: {error.strerror or error}", StorageError.code)


def _report(error: BaseException, text: str, code: int) -> int:
    if os.environ.get("REID_DEBUG"):
        raise error
    print(shortened(printable(f"error[{code}] {text}"), LONGEST), file=sys.stderr)
    return code
