"""Inputs that test the watchdog itself: each seed gives another outcome. This is no kind of file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

from runtime.errors import ArtifactError, StorageError

WORDS = (
    "used",
    "refused",
    "traceback",
    "crash",
    "hang",
    "two lines",
    "quiet",
    "other code",
    "changed",
    "ends",
)


def prepare(folder: Path) -> None:
    """Prepare nothing, because these inputs need no file."""


def make(material: None, random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    """Return a function that has the outcome of a seed, and whether the input must be refused.

    The seed is the one whose first random number `random` gives.
    """
    drawn = random.random()
    word = WORDS[next(seed for seed in range(len(WORDS)) if Random(f"faults {seed}").random() == drawn)]
    return lambda: _do(word), word == "changed"


def _do(word: str) -> int:
    if word == "refused":
        raise ArtifactError("x: damaged; export it again")
    if word == "traceback":
        raise KeyError("x")
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "two lines":
        print("error[4] first", file=sys.stderr)
        raise ArtifactError("second")
    if word == "other code":
        raise StorageError("x")
    if word == "quiet":
        return 4
    if word == "ends":
        os._exit(3)
    while word == "hang":
        pass
    return 0
