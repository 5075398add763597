"""The process that reads damaged inputs: `python -m tests.campaigns.worker KIND FOLDER`, seeds on stdin, outcomes on stdout.

It imports and prepares once, then forks, so that a dead child is replaced at once. A child says its process id; for every seed
it says `go` when the input is written, then what came of it, so that the parent can tell a slow import from a hanging parser.
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

KINDS = ("images", "checkpoints", "configs", "manifests", "features", "models")
# What one input may need on top of what is loaded; an image may have 20 million pixels.
MEMORY = 2 << 30
# usage, data, artefact; a kind may name others
CODES = (2, 3, 4)


def outcome(run: Callable[[], int], must_refuse: bool, codes: Sequence[int] = CODES) -> str:
    """`used`, `refused CODE`, or what is wrong in one line that starts with FAIL."""
    said, told = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = guarded(lambda _: run())
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # this is what the campaign looks for
        return f"FAIL traceback {type(error).__name__} at {_place(error)}: {str(error)[:80]!r}"
    if code == 0:
        return "FAIL a changed file was used" if must_refuse else "used"
    lines = [line for line in told.getvalue().split("\n") if line.startswith("error[")]
    if len(lines) != 1 or not told.getvalue().endswith(f"{lines[0]}\n"):
        return f"FAIL exit {code} without one line: {told.getvalue()[-200:]!r}"
    if not lines[0].isprintable():
        return f"FAIL control characters: {lines[0][:300]!r}"
    if code not in codes:
        return f"FAIL exit {code} for a damaged file: {lines[0][:200]!r}"
    if len(lines[0]) > 4000:
        return f"FAIL a line of {len(lines[0])} letters: {lines[0][:100]!r}"
    return f"refused {code}"


def _place(error: BaseException) -> str:
    """The innermost line of the project, and the innermost line of all."""
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
    """Import and prepare once, then fork: the child answers seeds, and another takes its place when it dies."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    # what native libraries print belongs to no answer
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
    """Answer seeds until there are no more, one line read at a time: what is not read yet is another child's."""
    while line := os.read(0, 32):
        run, must_refuse = make(random=Random(f"{kind} {int(line)}"))
        print("go", file=answers)
        print(judge(run, must_refuse), file=answers)


if __name__ == "__main__":
    main()
