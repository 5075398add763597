"""Run a command of ours as a user would, from the project's root. Knows no command."""

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
    """A command failed; its own message stands above. Ends with that command's exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def run(command: Sequence[str]) -> str:
    """What `python COMMAND` printed on stdout; StepFailed when it fails."""
    line = f"python {shlex.join(command)}"
    note(line)
    code, printed = run_apart([sys.executable, *command], cwd=ROOT)
    if code:
        raise StepFailed(f"a step ended with {code}; run it alone: {line}", code)
    return printed
