"""Run a command of this project in a new process, from the project's root folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.console import note
from runtime.errors import UserError
from runtime.stopping import run_apart

ROOT = Path(__file__).resolve().parent.parent


class StepFailed(UserError):
    """A command failed after it printed its error message. The calling program exits with the command's exit code, `code`."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def run(command: Sequence[str]) -> str:
    """Run `python` with the arguments `command`, and return what it printed to stdout. Raises StepFailed if it fails."""
    line = f"python {shlex.join(command)}"
    note(line)
    code, printed = run_apart([sys.executable, *command], cwd=ROOT)
    if code:
        raise StepFailed(f"a step failed with exit code {code}; to see why, run it alone: {line}", code)
    return printed
