"""Read MSMT17: either a release (V1 or V2), which contains list files, or a copy whose folders are named as in Market-1501."""

from __future__ import annotations

import os
import re

from runtime.datasets.files import present
from runtime.datasets.folders import collected, read_folders, split_folders
from runtime.datasets.item import Dataset, Item, Listing
from runtime.datasets.names import MSMT17, parse_name
from runtime.errors import DataError

LISTS = {
    "train": ("list_train.txt", "list_val.txt"),
    "query": ("list_query.txt",),
    "gallery": ("list_gallery.txt",),
}


def read_msmt17(root: str, listing: Listing) -> Dataset:
    """Read MSMT17 from its list files or, if it has none, from the folders that `split_folders` finds.

    The names count people from 0, and the result counts them from 1. Raises FileNotFoundError with the name of a missing list file.
    """
    has_lists = any(present(listing, name) for names in LISTS.values() for name in names)
    if not has_lists and all(split_folders(listing).values()):
        return read_folders("msmt17", root, listing)
    # In the second release, faces are blurred and the folders have other names.
    second = not present(listing, "test") and present(listing, "mask_test_v2")
    train, test = ("mask_train_v2", "mask_test_v2") if second else ("train", "test")
    rows = (
        (split, os.path.join(root, name), line.strip())
        for split, names in LISTS.items()
        for name in names
        for line in filter(str.strip, listing(name))
    )
    folders = {"train": train, "query": test, "gallery": test}
    return collected(("msmt17", root, LISTS), rows, lambda split, _, line: _item(root, folders[split], line))


def _item(root: str, folder: str, line: str) -> Item:
    """Return the Item of one line of a list; raise DataError for a line that is not a path and a pid."""
    path, _, pid = line.rpartition(" ")
    parts = path.split("/")
    if not re.fullmatch(r"[0-9]{1,9}", pid) or ".." in parts or not parts[0]:
        raise DataError(f"{line}: not an msmt17 list line, expected PPPP/{MSMT17.text} PID")
    # A path is relative to the folder train or test, or starts with that folder.
    inside = path if parts[0] == folder else os.path.join(folder, path)
    return Item(os.path.join(root, inside), int(pid) + 1, parse_name(path, "msmt17")[1])
