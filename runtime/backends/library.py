"""Import a library that may be missing, half installed or broken, and say in one line why it cannot be used."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, NamedTuple

from runtime.errors import DeviceError
from runtime.wording import reason_of

# For an import package, the distributions that install it. The one that is installed last overwrites the files of the others.
BUILDS = {
    "onnxruntime": (
        "onnxruntime",
        "onnxruntime-gpu",
        "onnxruntime-openvino",
        "onnxruntime-directml",
        "onnxruntime-rocm",
        "onnxruntime-migraphx",
        "onnxruntime-qnn",
        "onnxruntime-training",
        "ort-nightly",
        "ort-nightly-gpu",
    ),
}
# The messages, in exceptions and on stderr, that mean that a module was built for another version of NumPy.
OTHER_NUMPY = re.compile(
    r"compiled using NumPy|_ARRAY_API not found|numpy\.core\.multiarray failed to import|numpy\._core|numpy\.core\._multiarray"
    r"|numpy\.\w+ size changed|binary incompatibility|compiled against (?:ABI|API) version",
    re.I,
)
SHARED = re.compile(r"([\w.+-]+\.so[\w.]*): cannot open shared object file")
_LOCK = threading.RLock()


class BrokenLibrary(DeviceError):
    """A library is installed but cannot be used. Exit code 5."""


class Library(NamedTuple):
    """A library and the advice for its errors.

    `name` is its import name. `install` is the command that installs it, and `again` the command that reinstalls it if it is broken.
    """

    name: str
    install: str
    again: str


@contextmanager
def importing(library: Library, *, needs: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn a failed import of `library` inside the block into an error with a readable reason.

    Raises DeviceError if the library is not installed, and BrokenLibrary if its import fails in another way.

    `needs` are attributes that the library must have after the import. Raises BrokenLibrary if one is missing. This happens when an
    uninstallation left an almost empty folder behind: the import of such a folder succeeds.
    """
    with held_back() as printed:
        try:
            yield
        # A broken library may raise any error: AttributeError, SystemError, RuntimeError.
        except Exception as error:
            kind = DeviceError if is_absent(library, error) else BrokenLibrary
            raise kind(failure(library, error, printed())) from None
        if lacking := [need for need in needs if not hasattr(sys.modules.get(library.name), need)]:
            raise BrokenLibrary(_half(library, lacking[0]))


def is_absent(library: Library, error: BaseException) -> bool:
    """Return whether `error` means that the library, or a parent package of it, is not installed."""
    parts = library.name.split(".")
    parents = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return isinstance(error, ModuleNotFoundError) and error.name in parents


def failure(library: Library, error: BaseException, printed: str = "") -> str:
    """Return one line that says why the import failed and what to do.

    `error` is the exception of the import, and `printed` is what the library printed during the import.
    """
    name, text = library.name, str(error)
    absent = error.name if isinstance(error, ModuleNotFoundError) and error.name else None
    if is_absent(library, error):
        return f"{name} is not installed; {_first_removed(name, library.install)}"
    if absent and absent.split(".")[0] == name.split(".")[0]:
        return _half(library, absent)
    if OTHER_NUMPY.search(f"{text} {printed}"):
        numpy = _version("numpy") or "none"
        older = f"{_first_removed(name, library.again)}, or use an older NumPy: pip install 'numpy<2'"
        newer = "update NumPy: pip install -U numpy"
        return (
            f"{name} is installed, but built for another NumPy than the {numpy} here; "
            f"{newer if numpy.startswith('1.') else older}"
        )
    if absent:
        return f"{name} needs {absent}, which is not installed; pip install {absent.split('.')[0]}"
    if not text:
        # the last line that it printed is the most likely reason
        text = ([line for line in printed.splitlines() if line.strip()] or [""])[-1]
    return (
        f"{name} is installed, but does not load: {reason_of(text) or type(error).__name__}; "
        f"install what it lacks, or {_first_removed(name, library.again)}"
    )


def _half(library: Library, lacking: str) -> str:
    module = sys.modules.get(library.name.split(".")[0])
    places = list(getattr(module, "__path__", None) or [])
    where = f" in {places[0]}" if places else ""
    return (
        f"{library.name} is only partly installed{where}: it lacks {lacking}; remove what is left of it, then "
        f"{_first_removed(library.name, library.again)}"
    )


def _first_removed(name: str, command: str) -> str:
    clash = clashing(name)
    if clash:
        return f"uninstall all of them first ({clash}), then {command}"
    # the command must reinstall the distribution that is installed, such as onnxruntime-gpu, and not add another one
    return re.sub(rf"\b{name}$", next(iter(_builds(name)), name), command)


def clashing(name: str) -> str | None:
    """Return a message if several installed distributions contain the import package `name`; None if not.

    For example: `onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 overwrite one another's files`.
    """
    builds = [f"{build} {version}" for build, version in _builds(name).items()]
    return f"{' and '.join(builds)} overwrite one another's files" if len(builds) > 1 else None


def _builds(name: str) -> dict[str, str]:
    """Return the installed distributions that bring the import package `name`, with their versions."""
    return {build: version for build in BUILDS.get(name, ()) if (version := _version(build))}


def missing_library(printed: str) -> str | None:
    """Return the first shared library that cannot be opened according to the text `printed`, such as `libcublasLt.so.12`; or None."""
    match = SHARED.search(printed)
    return match[1] if match else None


@contextmanager
def held_back() -> Iterator[Callable[[], str]]:
    """While the block runs, capture what libraries print on stdout and stderr, also from native code.

    Yields a function that returns the text captured so far. If the block ends without an exception, the text is printed on stderr.
    If the block raises an exception, the text is discarded, so the exception must contain what the user needs from it.
    """
    # stdout and stderr belong to the whole process: two threads at once would not restore them in order
    with _LOCK, contextlib.ExitStack() as stack:
        python = io.StringIO()
        native = stack.enter_context(_native())
        with contextlib.redirect_stderr(python), contextlib.redirect_stdout(python):
            yield lambda: python.getvalue() + native()
        text = python.getvalue() + native()
    if text:
        print(text, end="" if text.endswith("\n") else "\n", file=sys.stderr)


@contextmanager
def _native() -> Iterator[Callable[[], str]]:
    """Capture the file descriptors 1 and 2; the yielded function returns the text so far."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile())
            saved = [(number, os.dup(number)) for number in (1, 2)]
        # a process without stdout or stderr, or without a place for temporary files
        except OSError:
            yield lambda: ""
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        for number, _ in saved:
            os.dup2(file.fileno(), number)
        try:
            yield lambda: _read(file)
        finally:
            for number, copy in saved:
                os.dup2(copy, number)
                os.close(copy)


def _read(file: Any) -> str:
    # pread does not move the position at which the next line is written
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode(errors="replace")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
