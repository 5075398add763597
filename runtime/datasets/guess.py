"""Which layout a folder has: from its structure, its file names and, where those leave a doubt, its own name."""

from __future__ import annotations

import os
from collections.abc import Iterable

from runtime.datasets.files import Folders, image_names, present
from runtime.datasets.folders import ALTERNATIVES, FOLDERS, split_folders
from runtime.datasets.item import Listing
from runtime.datasets.lists import list_files
from runtime.datasets.names import DUKE, LIKE, MARKET, stem
from runtime.datasets.occluded import PLACES, guess_occluded
from runtime.errors import ConfigError

LAYOUTS = (
    *("market1501", "occluded_duke", "dukemtmc", "msmt17", "anny", "cuhk03_np"),
    *("occluded_reid", "partial_reid", "partial_reid_occluded", "p_dukemtmc"),
    *("market_like", "person_folders", "list"),
)
# Where the images of a data set lie below its folder.
PLACED = tuple(
    f"{name}/"
    for name in (
        *(name for some in ALTERNATIVES.values() for names in some for name in names),
        *("mask_train_v2", "mask_test_v2"),
        *(name for places in PLACES.values() for names in places.values() for name in names),
    )
)
# Sets whose names are like those of others, by what people call their folder.
OWN_NAMES = {"msmt": "msmt17", "cuhk": "cuhk03_np"}


def guess_layout(root: str | os.PathLike[str], listing: Listing | None = None) -> str:
    """The layout of the data set at `root`, a folder or a list.

    ConfigError, naming the choices of --layout, where a doubt is left; DataError where there is no folder.
    """
    root = os.fspath(root)
    if listing is None and os.path.isfile(root):
        return "list"
    names_of = listing or Folders(root)
    own_name = os.path.basename(os.path.abspath(root)).lower()
    if present(names_of, "anny.json"):
        return "anny"
    if present(names_of, "list_query.txt"):
        return "msmt17"
    if {"query", "gallery"} <= list_files(names_of).keys():
        return "list"
    if occluded := guess_occluded(names_of, own_name):
        return occluded
    folders = split_folders(names_of)
    names = [name for some in folders.values() for folder in some for name in image_names(names_of(folder))]
    if layout := _by_names(names, root, own_name, complete=bool(folders["query"] and folders["gallery"])):
        return layout
    there = [folder for some in folders.values() for folder in some]
    seen = f"holds {', '.join(there)}" if there else f"holds none of {', '.join(FOLDERS.values())}"
    if inside := _inside(root, names_of):
        raise ConfigError(f"{root}: {seen}, but data sets lie in it; give one of them: {', '.join(inside)}")
    raise ConfigError(
        f"{root}: cannot tell its layout ({seen}); say which it is with --layout or, in a configuration, data.layout: "
        f"{'|'.join(LAYOUTS)}; a DukeMTMC folder called dukemtmc or occluded_duke says it itself"
    )


def surrounding_root(folder: str) -> str | None:
    """The data set's folder that `folder` (an absolute path) lies in, one or two levels below it; None where there is none."""
    found, root, inside = None, folder, ""
    for _ in range(2):
        root, name = os.path.split(root)
        inside = f"{name}/{inside}"
        # The outermost: P-DukeMTMC-reID/test looks like Occluded-REID.
        if name and inside.startswith(PLACED) and _whole(Folders(root)):
            found = root
    return found


def _by_names(names: list[str], root: str, own_name: str, *, complete: bool) -> str | None:
    """The layout that the names of the three folders' images say; None where they leave a doubt."""
    market, duke, like = (
        sum(form.stem.fullmatch(stem(name)) is not None for name in names) for form in (MARKET, DUKE, LIKE)
    )
    # The folder above may have the name: cuhk03-np/labeled.
    own_names = os.path.abspath(root).lower().split(os.sep)[-2:]
    known = next(
        (layout for part, layout in OWN_NAMES.items() if any(part in name for name in own_names)), None
    )
    # Stray names must not hide what most of the others say.
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
    every = list(answers)
    return 2 * sum(every) > len(every)


def _inside(root: str, listing: Listing) -> list[str]:
    """The folders in `root` that are data sets, as those of CUHK03-NP: labeled and detected."""
    if not isinstance(listing, Folders):
        return []
    with os.scandir(root) as entries:
        folders = sorted(entry.path for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return [folder for folder in folders if _whole(Folders(folder))]


def _whole(listing: Listing) -> bool:
    """Whether there is what a data set needs, looked up without reading a folder."""
    three = split_folders(listing)
    return (
        bool(three["query"] and three["gallery"])
        or present(listing, "list_query.txt")
        or guess_occluded(listing, "") is not None
    )
