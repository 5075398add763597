"""Which images a data set holds, whose they are and which camera took them. Reads names, never pixels.

A reader works on lists of names (`Listing`), so that the published splits can be checked without their
images. Names are Python's own (`surrogateescape`): a file name that is not UTF-8 comes through unharmed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from runtime.errors import ConfigError, DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MAX_BAD = 0.01
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
MSMT17_LISTS = {
    "train": ("list_train.txt", "list_val.txt"),
    "query": ("list_query.txt",),
    "gallery": ("list_gallery.txt",),
}
# As published, junk (pid -1) left out: (images, identities), the distractors' pid 0 counted as one identity.
PUBLISHED = {
    "market1501": {"train": (12936, 751), "query": (3368, 750), "gallery": (15913, 751)},
    "dukemtmc": {"train": (16522, 702), "query": (2228, 702), "gallery": (17661, 1110)},
    "occluded_duke": {"train": (15618, 702), "query": (2210, 519), "gallery": (17661, 1110)},
    "msmt17": {"train": (32621, 1041), "query": (11659, 3060), "gallery": (82161, 3060)},
}

# Layout -> what a person reads in an error, and the stem it stands for.
_MARKET = ("PPPP_cCsS_FFFFFF_NN.jpg", re.compile(r"(-1|[0-9]{1,9})_c([0-9]{1,4})s[0-9]+_[0-9]+_[0-9]+"))
_DUKE = ("PPPP_cC_fFFFFFFF.jpg", re.compile(r"([0-9]{1,9})_c([0-9]{1,4})_f[0-9]+"))
_MSMT17 = (
    "PPPP_NNN_CC_MMDDtime_FFFF_N.jpg",
    re.compile(r"([0-9]{4,9})_[0-9]{3}_([0-9]{1,4})_[0-9]{4}[a-z]+_.+", re.DOTALL),
)
_PATTERNS = {
    **dict.fromkeys(("market1501", "anny"), _MARKET),
    **dict.fromkeys(("dukemtmc", "occluded_duke"), _DUKE),
    "msmt17": _MSMT17,
}

Listing = Callable[[str], Sequence[str]]
"""The file names in a folder of the root, or the lines of a list file there; FileNotFoundError(its name)."""


@dataclass(frozen=True)
class Item:
    """One image: its path, person (-1 unknown or junk, 0 distractor) and 0-based camera (-1 unknown)."""

    path: str
    pid: int
    camid: int


@dataclass(frozen=True)
class Dataset:
    """The three splits, each sorted by path; pids as in the names, train not relabelled.

    `gallery` holds no junk (pid -1) but the distractors (pid 0). MSMT17 counts its people from 0: its pids
    are one higher here, because 0 means distractor. `skipped` lists (path, reason) of images whose names
    could not be read.
    """

    layout: str
    root: str
    train: tuple[Item, ...]
    query: tuple[Item, ...]
    gallery: tuple[Item, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def parse_name(name: str, layout: str) -> tuple[int, int]:
    """The pid and 0-based camid that a file name carries; folders before the last slash are not looked at.

    DataError names the file and the pattern that `layout` expects.
    """
    pattern, stem_pattern = _PATTERNS[layout]
    match = stem_pattern.fullmatch(_stem(name))
    # Cameras are 1-based in every published name and 0-based here: "c0" belongs to no layout.
    if match is None or not name.lower().endswith(IMAGE_SUFFIXES) or int(match[2]) == 0:
        raise DataError(f"{name}: not a {layout} image name, expected {pattern} (cameras count from 1)")
    return int(match[1]) + (layout == "msmt17"), int(match[2]) - 1


def guess_layout(root: str | os.PathLike[str], listing: Listing | None = None) -> str:
    """The layout of the data set at `root`: from its structure, its file names and, for a Duke, its own name.

    ConfigError, naming the choices of --layout, where a doubt is left; DataError where there is no folder.
    """
    root = os.fspath(root)
    names_of = listing or _folder_listing(root)
    if _present(names_of, "anny.json"):
        return "anny"
    if _present(names_of, "list_query.txt"):
        return "msmt17"
    folders = [folder for folder in FOLDERS.values() if _present(names_of, folder)]
    names = [name for folder in folders for name in image_names(names_of(folder))]
    # Stray names must not hide what most of the others say.
    market, duke = (
        sum(stem_pattern.fullmatch(_stem(name)) is not None for name in names)
        for _, stem_pattern in (_MARKET, _DUKE)
    )
    if market > duke:
        return "market1501"
    if duke > market:
        own_name = os.path.basename(os.path.abspath(root)).lower()
        if "occ" in own_name:
            return "occluded_duke"
        if "duke" in own_name:
            return "dukemtmc"
    seen = f"holds {', '.join(folders)}" if folders else f"holds none of {', '.join(FOLDERS.values())}"
    raise ConfigError(f"{root}: cannot tell its layout ({seen}); say which: --layout {'|'.join(READERS)}")


def read_dataset(
    root: str | os.PathLike[str],
    layout: str | None = None,
    *,
    listing: Listing | None = None,
    max_bad: float = MAX_BAD,
) -> Dataset:
    """The data set in folder `root`; `layout` is guessed where it is None.

    Links to image files are followed, hidden files and files that are no images are not looked at. Badly
    named images are in `skipped` while they are at most `max_bad` (fraction) of all. DataError: more than
    that, a missing folder, an empty query or gallery. ConfigError: a layout unknown or not to be guessed.
    """
    root = os.fspath(root)
    names_of = listing or _folder_listing(root)
    layout = layout or guess_layout(root, names_of)
    if layout not in READERS:
        raise ConfigError(f"unknown layout {layout}; say one of: --layout {'|'.join(READERS)}")
    try:
        found = READERS[layout](root, names_of)
    except FileNotFoundError as error:
        raise DataError(
            f"{root}: no {error.args[0]} in it, which the layout {layout} needs; check --data and --layout"
        ) from None
    bad = len(found.skipped)
    if bad > max_bad * (total := bad + len(found.train) + len(found.query) + len(found.gallery)):
        raise DataError(f"{found.skipped[0][1]}; {bad} of {total} are bad, rename them or check --layout")
    for split in ("query", "gallery"):
        if not getattr(found, split):
            place = MSMT17_LISTS[split][0] if layout == "msmt17" else FOLDERS[split]
            raise DataError(f"{split} is empty: {os.path.join(root, place)}")
    return found


def counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """{train|query|gallery: {images, identities, cameras}}; the distractors' pid 0 counts as one identity."""
    return {
        split: {
            "images": len(items),
            "identities": len({item.pid for item in items}),
            "cameras": len({item.camid for item in items}),
        }
        for split, items in ((split, getattr(dataset, split)) for split in FOLDERS)
    }


def count_warnings(dataset: Dataset) -> list[str]:
    """One sentence per split that differs from the published one, and one for queries that never match."""
    warnings = []
    found = counts(dataset)
    for split, published in PUBLISHED.get(dataset.layout, {}).items():
        here = (found[split]["images"], found[split]["identities"])
        if here != published:
            warnings.append(
                "{}: {} has {} images of {} identities, the published {} has {} of {}: do not compare"
                " their results".format(dataset.root, split, *here, dataset.layout, *published)
            )
    if distractors := sum(item.pid == 0 for item in dataset.query):
        warnings.append(f"{dataset.root}: {distractors} queries have pid 0 (distractor), which never matches")
    return warnings


def _read_folders(layout: str, root: str, listing: Listing) -> Dataset:
    rows = (
        (split, path, path)
        for split, folder in FOLDERS.items()
        for path in (os.path.join(root, folder, name) for name in image_names(listing(folder)))
    )
    return _collected(layout, root, rows, lambda _, path: Item(path, *parse_name(path, layout)))


def _read_msmt17(root: str, listing: Listing) -> Dataset:
    # The second release blurs faces and keeps its images in folders of another name.
    second = not _present(listing, "test") and _present(listing, "mask_test_v2")
    train, test = ("mask_train_v2", "mask_test_v2") if second else ("train", "test")
    rows = (
        (split, os.path.join(root, name), line.strip())
        for split, names in MSMT17_LISTS.items()
        for name in names
        for line in filter(str.strip, listing(name))
    )
    folders = {"train": train, "query": test, "gallery": test}
    return _collected("msmt17", root, rows, lambda split, line: _msmt17_item(root, folders[split], line))


def _msmt17_item(root: str, folder: str, line: str) -> Item:
    path, _, pid = line.rpartition(" ")
    parts = path.split("/")
    if not re.fullmatch(r"[0-9]{1,9}", pid) or ".." in parts or not parts[0]:
        raise DataError(f"{line}: not an msmt17 list line, expected PPPP/{_MSMT17[0]} PID")
    # Lists name their images below train/ or test/, or with that folder in front.
    inside = path if parts[0] == folder else os.path.join(folder, path)
    return Item(os.path.join(root, inside), int(pid) + 1, parse_name(path, "msmt17")[1])


def _collected(
    layout: str, root: str, rows: Iterable[tuple[str, str, str]], item: Callable[[str, str], Item]
) -> Dataset:
    """The data set of (split, where, text) rows; `item` makes an Item of split and text or a DataError."""
    splits: dict[str, list[Item]] = {split: [] for split in FOLDERS}
    skipped = []
    for split, where, text in rows:
        try:
            splits[split].append(item(split, text))
        except DataError as error:
            skipped.append((where, str(error)))
    train, query, gallery = map(_usable, splits.values())
    return Dataset(layout, root, train, query, gallery, tuple(sorted(skipped)))


READERS: dict[str, Callable[[str, Listing], Dataset]] = {
    "market1501": partial(_read_folders, "market1501"),
    "occluded_duke": partial(_read_folders, "occluded_duke"),
    "dukemtmc": partial(_read_folders, "dukemtmc"),
    "msmt17": _read_msmt17,
    "anny": partial(_read_folders, "anny"),
}


def _usable(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(sorted((item for item in items if item.pid >= 0), key=lambda item: item.path))


def image_names(names: Iterable[str]) -> list[str]:
    """Those of the file names that are images by their suffix."""
    # Archives packed on a Mac bring a hidden "._NAME.jpg" along for every image.
    return [name for name in names if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)]


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(os.path.basename(name))
    # Some of Market-1501's published names end in ".jpg.jpg".
    return stem.removesuffix(suffix)


def _present(listing: Listing, name: str) -> bool:
    try:
        listing(name)
    except FileNotFoundError:
        return False
    return True


def _folder_listing(root: str) -> Listing:
    if not os.path.isdir(root):
        raise DataError(f"{root}: no such folder; give the data set's own folder with --data")

    def names(relative: str) -> list[str]:
        path = os.path.join(root, relative)
        if os.path.isfile(path):
            return read_lines(path)
        if not os.path.isdir(path):
            raise FileNotFoundError(relative)
        try:
            with os.scandir(path) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None

    return names


def read_lines(path: str) -> list[str]:
    """The lines of a list file; DataError when it cannot be read or is no text."""
    lines = []
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            for line in file:
                if "\0" in line:
                    raise DataError(f"{path}: a binary file, not a list; give a folder or a list of images")
                lines.append(line.rstrip("\r\n"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    return lines
