"""Somebody's own data set: a folder for each person in the folders of the splits, the images named anyhow."""

from __future__ import annotations

import os
import re

from runtime.datasets.folders import FOLDERS, collected, counted_from_one, listed, split_folders
from runtime.datasets.item import Dataset, Item, Listing
from runtime.errors import DataError

NUMBER = re.compile(r"-1|[0-9]{1,9}")
# A part of a name or a folder that says the camera: _c3, _c3s1, cam3.
CAMERA = re.compile(r"(?:^|[_/-])c(?:am)?([0-9]{1,4})(?:s[0-9]+)?(?=[_/.-])", re.IGNORECASE)


def read_person_folders(root: str, listing: Listing) -> Dataset:
    """The folder is the person: its number, or where not all are numbers its place among them by name, from 1.

    The camera is what the image's name says as _cN or camN, 1-based unless there is a camera 0; else unknown (-1).
    """
    folders = split_folders(listing)
    for split in ("query", "gallery"):
        if not folders[split]:
            raise FileNotFoundError(FOLDERS[split])
    rows = [
        (split, os.path.join(root, folder, name), name) for split, folder, name in listed(listing, folders)
    ]
    people = sorted({name.partition("/")[0] for _, _, name in rows if "/" in name})
    numbered = all(NUMBER.fullmatch(name) for name in people)
    pids = {name: int(name) if numbered else place for place, name in enumerate(people, 1)}
    first = 0 if any(_camera(name) == 0 for _, _, name in rows) else 1

    def item(_: str, path: str, name: str) -> Item:
        person, slash, _rest = name.partition("/")
        if not slash:
            raise DataError(f"{path}: lies in no person's folder, which the layout person_folders needs")
        camera = _camera(name)
        return Item(path, pids[person], -1 if camera is None else camera - first)

    return counted_from_one(collected(("person_folders", root, folders), rows, item))


def _camera(name: str) -> int | None:
    found = CAMERA.findall(name.partition("/")[2])
    return int(found[-1]) if found else None
