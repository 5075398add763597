"""Guess the layout of a data set from its folders, its file names and, if these are ambiguous, the name of the root folder."""

from __future__ import annotations

import os
from collections.abc import Iterable

from runtime.datasets.files import Folders, image_names, present
from runtime.datasets.folders import ALTERNATIVES, FOLDERS, LAYOUT_FOLDERS, split_folders
from runtime.datasets.item import Listing
from runtime.datasets.lists import list_files
from runtime.datasets.names import DUKE, FORMS, LIKE, MARKET, stem
from runtime.datasets.occluded import guess_occluded
from runtime.errors import ConfigError

# Every layout, in the order of messages. In the last two, file names have no fixed form.
LAYOUTS = (*FORMS, "person_folders", "list")
# The folders below the root of a data set that can hold its images, each with a slash at its end.
IMAGE_FOLDERS = tuple(
    f"{name}/"
    for name in (
        *(name for alternatives in ALTERNATIVES.values() for names in alternatives for name in names),
        *("mask_train_v2", "mask_test_v2"),
        *(name for folders in LAYOUT_FOLDERS.values() for names in folders.values() for name in names),
    )
)
# For data sets whose file names look like those of another one: {part of the root folder's name: layout}.
OWN_NAMES = {"msmt": "msmt17", "cuhk": "cuhk03_np"}


def guess_layout(root: str | os.PathLike[str], listing: Listing | None = None) -> str:
    """Return the layout of the data set at `root`, a folder or a list file; `listing` None lists the folder on the disk.

    Raises ConfigError, which lists the layouts, if the layout is ambiguous, and DataError if there is no such folder.
    """
    root = os.fspath(root)
    if listing is None and os.path.isfile(root):
        return "list"
    names_of = listing or Folders(root)
    own_name = os.path.basename(os.path.abspath(root)).lower()
    if layout := _by_marks(names_of, own_name):
        return layout
    folders = split_folders(names_of)
    existing = [folder for split in folders.values() for folder in split]
    names = [name for folder in existing for name in image_names(names_of(folder))]
    if layout := _by_names(names, root, own_name, complete=bool(folders["query"] and folders["gallery"])):
        return layout
    content = f"holds {', '.join(existing)}" if existing else f"holds none of {', '.join(FOLDERS.values())}"
    if inside := _data_sets_in(root, names_of):
        raise ConfigError(
            f"{root}: {content}, but it contains data sets; give the folder of one of them: {', '.join(inside)}"
        )
    raise ConfigError(
        f"{root}: the layout cannot be guessed ({content}); set layout (--layout, or data.layout in a configuration) to one of "
        f"{'|'.join(LAYOUTS)}; a DukeMTMC data set is also recognised when its folder is called dukemtmc or occluded_duke"
    )


def surrounding_root(folder: str) -> str | None:
    """Return the root of the data set of which `folder` is an image folder; None if it is in no data set.

    `folder` is an absolute path. The root can be one or two levels above it.
    """
    outermost, root, inside = None, folder, ""
    for _ in range(2):
        root, name = os.path.split(root)
        inside = f"{name}/{inside}"
        # The upper of two possible roots is right: P-DukeMTMC-reID/test alone looks like Occluded-REID.
        if name and inside.startswith(IMAGE_FOLDERS) and _is_data_set(Folders(root)):
            outermost = root
    return outermost


def _by_marks(listing: Listing, own_name: str) -> str | None:
    """Return the layout if a file or folder in the root exists in this layout only; else None. Reads no folder.

    `own_name` is the name of the root in lower case.
    """
    if present(listing, "anny.json"):
        return "anny"
    if present(listing, "list_query.txt"):
        return "msmt17"
    if {"query", "gallery"} <= list_files(listing).keys():
        return "list"
    return guess_occluded(listing, own_name)


def _by_names(names: list[str], root: str, own_name: str, *, complete: bool) -> str | None:
    """Return the layout to which the file names of the images belong; None if they are ambiguous.

    `own_name` is the name of `root` in lower case. `complete` says whether the root has folders for both query and gallery.
    """
    market, duke, like = (
        sum(form.stem.fullmatch(stem(name)) is not None for name in names) for form in (MARKET, DUKE, LIKE)
    )
    # The folder above may carry the data set's name, as in cuhk03-np/labeled.
    own_names = os.path.abspath(root).lower().split(os.sep)[-2:]
    known = next(
        (layout for part, layout in OWN_NAMES.items() if any(part in name for name in own_names)), None
    )
    # A few stray names must not outweigh the majority.
    others = like - market - duke
    if max(market, others) > duke:
        if known == "msmt17" or (known and others > market):
            return known
        return "market1501" if market >= others else "market_like"
    if duke > market:
        if "occ" in own_name:
            return "occluded_duke"
        return "dukemtmc" if "duke" in own_name else None
    if complete and not like and names and _mostly(name.count("/") > 0 for name in names):
        return "person_folders"
    return None


def _mostly(answers: Iterable[bool]) -> bool:
    answers = list(answers)
    return 2 * sum(answers) > len(answers)


def _data_sets_in(root: str, listing: Listing) -> list[str]:
    """Return the folders in `root` that are data sets themselves, such as `labeled` and `detected` of CUHK03-NP."""
    if not isinstance(listing, Folders):
        return []
    with os.scandir(root) as entries:
        folders = sorted(entry.path for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return [folder for folder in folders if _is_data_set(Folders(folder))]


def _is_data_set(listing: Listing) -> bool:
    """Return whether the folder has the files or folders of a data set. Looks up their names and reads no folder."""
    folders = split_folders(listing)
    return bool(folders["query"] and folders["gallery"]) or _by_marks(listing, "") is not None
