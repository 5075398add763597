"""Run a command of this project as a user would, from its root folder."""

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
    """A command failed and has printed its own message. The calling program exits with the same code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def run(command: Sequence[str]) -> str:
    """Run `python COMMAND` and return its stdout. Raises StepFailed if the command fails."""
    line = f"python {shlex.join(command)}"
    note(line)
    code, printed = run_apart([sys.executable, *command], cwd=ROOT)
    if code:
        raise StepFailed(f"a step failed with exit code {code}; to see why, run it alone: {line}", code)
    return printed
