"""What a reader of a data set gives: images with their persons and cameras, in three splits. Reads nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

SPLITS = ("train", "query", "gallery")

Listing = Callable[[str], Sequence[str]]
"""The files below a folder of the root, as paths relative to it, or the lines of a list file there.

FileNotFoundError(its name) where there is neither.
"""


@dataclass(frozen=True)
class Item:
    """One image: its path, person (-1 unknown or junk, 0 distractor) and 0-based camera (-1 unknown)."""

    path: str
    pid: int
    camid: int


@dataclass(frozen=True)
class Dataset:
    """The three splits, each sorted by path (of a list: in its order); pids as in the names, train not relabelled.

    `gallery` holds no junk (pid -1) but the distractors (pid 0). Where a data set counts its people from 0 (MSMT17), its
    pids are one higher here, because 0 means distractor. `skipped` lists (path, reason) of images whose names could not be
    read, `junk` is the number of images with pid -1, `left_out` says in words what else was not read, and `places` is
    (split, folder or list) for messages.
    """

    layout: str
    root: str
    train: tuple[Item, ...]
    query: tuple[Item, ...]
    gallery: tuple[Item, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    junk: int = 0
    left_out: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
