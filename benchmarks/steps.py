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
    """A command that `run` started printed its own error message and failed. The calling program exits with the same exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def run(command: Sequence[str]) -> str:
    """Run `python` with the arguments `command`, and return the text that it printed to stdout. Raises StepFailed if it fails."""
    line = f"python {shlex.join(command)}"
    note(line)
    code, printed = run_apart([sys.executable, *command], cwd=ROOT)
    if code:
        raise StepFailed(
            f"a command failed with exit code {code} for the reason printed above; to repeat it alone, run {line}",
            code,
        )
    return printed
