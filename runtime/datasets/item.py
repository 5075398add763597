"""The result of reading a data set: images with their persons and cameras, in three splits. Reads nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

SPLITS = ("train", "query", "gallery")

Listing = Callable[[str], Sequence[str]]
"""Return the files below a folder of the root, as paths relative to that folder, or the lines of a list file in the root.

FileNotFoundError(name) where there is neither.
"""


@dataclass(frozen=True)
class Item:
    """One image: its path, person (-1 unknown or junk, 0 distractor) and 0-based camera (-1 unknown)."""

    path: str
    pid: int
    camid: int


@dataclass(frozen=True)
class Dataset:
    """A data set in three splits, each sorted by path; the images of a list keep its order.

    The pids are those of the names; train is not relabelled. Where a data set counts its people from 0 (MSMT17), its pids are one
    higher here, because 0 means distractor. `gallery` holds the distractors (pid 0) but no junk (pid -1). `skipped` lists (path,
    reason) of images whose names could not be read, `junk` is the number of images with pid -1, `left_out` has sentences about
    what else was not read, and `folders` has (split, its first folder or list) for messages.
    """

    layout: str
    root: str
    train: tuple[Item, ...]
    query: tuple[Item, ...]
    gallery: tuple[Item, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    junk: int = 0
    left_out: tuple[str, ...] = ()
    folders: tuple[tuple[str, str], ...] = ()
