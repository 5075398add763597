"""Read damaged inputs of one kind: `python -m tests.campaigns.worker KIND FOLDER`. Seeds come on stdin, outcomes go to stdout.

The process imports and prepares everything once and then forks, so that a child that dies can be replaced at once. A child prints
its process id. For each seed, it prints `go` when the input is written, and then the outcome, so that the time of the reading can
be limited.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import resource
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TextIO

from runtime.entry import guarded

KINDS = ("images", "checkpoints", "configs", "manifests", "features", "models", "boxes")
# The bytes that one input may use in addition to what is already loaded. An image may have 20 million pixels.
MEMORY = 2 << 30
# The exit codes with which a damaged file may be refused: usage, data and model file. A kind of file may define others.
CODES = (2, 3, 4)


def outcome(run: Callable[[], int], must_refuse: bool, codes: Sequence[int] = CODES) -> str:
    """Call `run`, and return the outcome: `used`, `refused CODE`, or one line that begins with FAIL and says what is wrong.

    If `must_refuse` is True, the exit code 0 is a failure too.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            code = guarded(lambda _: run())
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # a traceback, which the campaign looks for
        return f"FAIL traceback {type(error).__name__} at {_place(error)}: {str(error)[:80]!r}"
    if code == 0:
        return "FAIL a changed file was used" if must_refuse else "used"
    lines = [line for line in stderr.getvalue().split("\n") if line.startswith("error[")]
    if len(lines) != 1 or not stderr.getvalue().endswith(f"{lines[0]}\n"):
        return f"FAIL exit {code} without one line: {stderr.getvalue()[-200:]!r}"
    if not lines[0].isprintable():
        return f"FAIL control characters: {lines[0][:300]!r}"
    if code not in codes:
        return f"FAIL exit {code} for a damaged file: {lines[0][:200]!r}"
    if len(lines[0]) > 4000:
        return f"FAIL a line of {len(lines[0])} letters: {lines[0][:100]!r}"
    return f"refused {code}"


def _place(error: BaseException) -> str:
    """Return the innermost line of this project in the traceback, or the innermost line of all, as FILE:NUMBER."""
    frames = traceback.extract_tb(error.__traceback__)
    here = f"{os.getcwd()}/"
    ours = [frame for frame in frames if frame.filename.startswith(here) and "/.venv/" not in frame.filename]
    last = ours[-1] if ours else frames[-1]
    return f"{last.filename.removeprefix(here)}:{last.lineno}"


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Import and prepare everything once, and fork a child that answers seeds. When a child dies, another one replaces it."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    # Native libraries may print to stdout, which must not mix with the answers.
    silent = os.open(folder / "native.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(silent, 1)
    module: Any = importlib.import_module(f"tests.campaigns.{kind}")
    material = module.prepare(folder)
    _limit_memory()
    status = 1
    while status:
        if not (child := os.fork()):
            print(os.getpid(), file=answers)
            codes = getattr(module, "CODES", CODES)
            _answer(
                kind, partial(module.make, material, folder=folder), partial(outcome, codes=codes), answers
            )
            os._exit(0)
        if status := os.waitpid(child, 0)[1]:
            print(f"died {os.waitstatus_to_exitcode(status)}", file=answers)


def _answer(kind: str, make: Any, judge: Any, answers: TextIO) -> None:
    """Read seeds from stdin, and print the outcome of each. Only one line is read at a time, so that another child can go on."""
    while line := os.read(0, 32):
        run, must_refuse = make(random=Random(f"{kind} {int(line)}"))
        print("go", file=answers)
        print(judge(run, must_refuse), file=answers)


if __name__ == "__main__":
    main()
