"""The types that describe a data set: images with their persons and cameras, in three splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

SPLITS = ("train", "query", "gallery")

Listing = Callable[[str], Sequence[str]]
"""A function that reads from the root of a data set: it takes the name of a folder or list file in the root.

It returns the files below the folder, as paths relative to it, or the lines of the list file. It raises FileNotFoundError(name) if
there is no such folder or file.
"""


@dataclass(frozen=True)
class Item:
    """One image: its path, the id of its person (-1 unknown or junk, 0 distractor), and the 0-based id of its camera (-1 unknown)."""

    path: str
    pid: int
    camid: int


@dataclass(frozen=True)
class Dataset:
    """The images of a data set in the splits `train`, `query` and `gallery`.

    Each split is sorted by path, but the images of a list file keep their order. The pids are the numbers in the file names or lists;
    those of train are not renumbered to 0, 1, 2, ... There is one exception: if a data set counts its people from 0, such as MSMT17,
    every pid is raised by one, because pid 0 means a distractor. `gallery` contains the distractors, but no junk (pid -1).

    `skipped` lists (path, reason) of images whose names could not be read. `junk` is the number of images with pid -1. `left_out`
    are sentences about other files that were not read. `folders` has (split, its first folder or list file), for messages.
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
