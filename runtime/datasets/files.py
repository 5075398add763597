"""Which files lie below a folder, and which of them are images by their names. Opens no image and knows no layout."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping

from runtime.datasets.item import Listing
from runtime.errors import DataError

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"),
    *(".tif", ".tiff", ".avif"),
)
# What a walk meets besides files and folders.
LINKED_FOLDERS, BROKEN, SPECIAL, HIDDEN = "linked folders", "broken links", "special files", "hidden files"


def image_names(names: Iterable[str]) -> list[str]:
    """Those of the file names that are images by their suffix."""
    return [name for name in names if is_image(name)]


def is_image(name: str) -> bool:
    """Whether a file name is one of an image; a hidden file is none."""
    # Archives packed on a Mac bring a hidden "._NAME.jpg" along for every image.
    return not os.path.basename(name).startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def walk(folder: str) -> tuple[list[str], Counter[str]]:
    """(the images below `folder` as sorted relative paths, how many entries of each other kind there are).

    Links to files are followed, links to folders are not: they may lead round in circles. DataError for a folder that
    cannot be read.
    """
    images: list[str] = []
    others: Counter[str] = Counter()
    pending = [""]
    while pending:
        inside = pending.pop()
        path = os.path.join(folder, inside)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    kind = _kind(entry)
                    if kind == "folder":
                        pending.append(inside + entry.name + "/")
                    elif kind == "image":
                        images.append(inside + entry.name)
                    else:
                        others[kind] += 1
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    return sorted(images), others


def in_words(others: Mapping[str, int]) -> str:
    """What `walk` left out, as "7 files left out: 4 hidden files, 3 .txt"; empty where there is nothing."""
    if not (count := sum(others.values())):
        return ""
    kinds = ", ".join(
        f"{number} {kind}" for kind, number in sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))
    )
    return f"{count} {'entry' if count == 1 else 'entries'} left out, which {'is' if count == 1 else 'are'} no image: {kinds}"


class Folders:
    """The `Listing` of a folder on the disk. `others` is what each of its folders holds besides images."""

    def __init__(self, root: str) -> None:
        if not os.path.isdir(root):
            raise DataError(f"{root}: no such folder; give the data set's own folder")
        self.root = root
        self.others: dict[str, Counter[str]] = {}
        self._images: dict[str, list[str]] = {}

    def __call__(self, relative: str) -> list[str]:
        """The image files below a folder, or the lines of a list file."""
        path = os.path.join(self.root, relative)
        if os.path.isfile(path):
            return read_lines(path)
        if not os.path.isdir(path):
            raise FileNotFoundError(relative)
        if relative not in self._images:
            self._images[relative], self.others[relative] = walk(path)
        return self._images[relative]

    def present(self, relative: str) -> bool:
        """Whether there is such a folder or file."""
        return os.path.exists(os.path.join(self.root, relative))


def present(listing: Listing, name: str) -> bool:
    """Whether the listing has a folder or list file of this name."""
    if isinstance(listing, Folders):
        return listing.present(name)
    try:
        listing(name)
    except FileNotFoundError:
        return False
    return True


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


def _kind(entry: os.DirEntry[str]) -> str:
    """What stands in a count for this entry: "folder", "image", or the kind of what is left out."""
    if entry.is_dir():
        return LINKED_FOLDERS if entry.is_symlink() else "folder"
    if not entry.is_file():
        return BROKEN if entry.is_symlink() and not os.path.exists(entry.path) else SPECIAL
    if entry.name.startswith("."):
        return HIDDEN
    return (
        "image"
        if is_image(entry.name)
        else os.path.splitext(entry.name)[1].lower() or "files without a suffix"
    )
