"""Read a data set in which each split has one folder for each person, and the images may have any names."""

from __future__ import annotations

import os
import re

from runtime.datasets.folders import FOLDERS, collected, counted_from_one, images_below, split_folders
from runtime.datasets.item import Dataset, Item, Listing
from runtime.errors import DataError

NUMBER = re.compile(r"-1|[0-9]{1,9}")
# The part of a name or a folder that states the camera: _c3, _c3s1, cam3.
CAMERA = re.compile(r"(?:^|[_/-])c(?:am)?([0-9]{1,4})(?:s[0-9]+)?(?=[_/.-])", re.IGNORECASE)


def read_person_folders(root: str, listing: Listing) -> Dataset:
    """Read a data set in which each split of `root` has one folder for each person.

    If the names of all these folders are numbers, the number is the pid; with a person 0 in train or query, every pid is raised by
    one. Otherwise the pid is the position, from 1, of the name among the sorted folder names of all splits.

    The number N in _cN or camN in the image's name, or in a folder inside the person's folder, states the camera. The names count
    cameras from 1, or from 0 if any name has camera 0. The camid in the result counts from 0, and is -1 if the name states no
    camera. Raises FileNotFoundError if the folder of query or gallery is missing.
    """
    folders = split_folders(listing)
    for split in ("query", "gallery"):
        if not folders[split]:
            raise FileNotFoundError(FOLDERS[split])
    rows = [
        (split, os.path.join(root, folder, name), name)
        for split, folder, name in images_below(listing, folders)
    ]
    people = sorted({name.partition("/")[0] for _, _, name in rows if "/" in name})
    numbered = all(NUMBER.fullmatch(name) for name in people)
    pids = {name: int(name) if numbered else position for position, name in enumerate(people, 1)}
    first = 0 if any(_camera(name) == 0 for _, _, name in rows) else 1

    def to_item(_: str, path: str, name: str) -> Item:
        person, slash, _rest = name.partition("/")
        if not slash:
            raise DataError(
                f"{path}: is not in the folder of a person; move it there, or give another layout than person_folders"
            )
        camera = _camera(name)
        return Item(path, pids[person], -1 if camera is None else camera - first)

    return counted_from_one(collected(("person_folders", root, folders), rows, to_item))


def _camera(name: str) -> int | None:
    """Return the number of the camera in the part of the path after the person's folder, or None."""
    numbers = CAMERA.findall(name.partition("/")[2])
    return int(numbers[-1]) if numbers else None
