"""Run a command of ours as a user would, from the project's root. Knows no command."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.console import note
from runtime.errors import Refusal

ROOT = Path(__file__).resolve().parent.parent


class StepFailed(Refusal):
    """A command failed; its own message stands above. Ends with that command's exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def run(command: Sequence[str]) -> str:
    """What `python COMMAND` printed on stdout; StepFailed when it fails."""
    line = f"python {shlex.join(command)}"
    note(line)
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise StepFailed(f"a step ended with {done.returncode}; run it alone: {line}", done.returncode)
    return done.stdout
