"""Not a kind of file: one input of every outcome, by its seed, with which the watchdog itself is tested."""

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
    """Nothing is needed."""


def make(material: None, random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    """What the seed stands for: the one whose random numbers these are."""
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
