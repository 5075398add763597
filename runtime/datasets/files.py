"""List the files below a folder, and recognise images by their file names. Opens no image."""

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
# Kinds under which `walk` counts entries that are not images. It counts an ordinary file under its suffix.
LINKED_FOLDERS, BROKEN, SPECIAL, HIDDEN = "linked folders", "broken links", "special files", "hidden files"


def image_names(names: Iterable[str]) -> list[str]:
    """Return the names that are file names of images (`is_image`)."""
    return [name for name in names if is_image(name)]


def is_image(name: str) -> bool:
    """Return whether a file name is that of an image: it has a suffix of IMAGE_SUFFIXES and does not start with a dot."""
    # Archives packed on a Mac hold a hidden "._NAME.jpg" for every image.
    return not os.path.basename(name).startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def walk(folder: str) -> tuple[list[str], Counter[str]]:
    """Return (the images below `folder` as sorted relative paths, {kind: number of other entries of this kind}).

    A kind is the suffix of a file, such as ".txt", or a description, such as "linked folders" or "files without a suffix". A link to
    a file counts as the file. A link to a folder is not followed, because links may form a loop. Raises DataError for a folder that
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


def left_out_text(others: Mapping[str, int]) -> str:
    """Describe `others`, the second result of `walk`; "" if there are none.

    For example: "7 entries left out, which are no image: 4 hidden files, 3 .txt".
    """
    if not (count := sum(others.values())):
        return ""
    kinds = ", ".join(
        f"{number} {kind}" for kind, number in sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))
    )
    return f"{count} {'entry' if count == 1 else 'entries'} left out, which {'is' if count == 1 else 'are'} no image: {kinds}"


class Folders:
    """The `Listing` that reads the folder `root` of a data set on the disk. Raises DataError if there is no such folder.

    `others` is {folder: {kind: number of entries that are no images}} for each folder that was read. The folders are relative to
    `root`, and the kinds are those of `walk`.
    """

    def __init__(self, root: str) -> None:
        if not os.path.isdir(root):
            raise DataError(f"{root}: no such folder; give the data set's own folder")
        self.root = root
        self.others: dict[str, Counter[str]] = {}
        self._images: dict[str, list[str]] = {}

    def __call__(self, relative: str) -> list[str]:
        """Return the image files below the folder `relative` as paths relative to it, or the lines of the list file `relative`.

        Raises FileNotFoundError if `root` has neither, and DataError if it cannot be read.
        """
        path = os.path.join(self.root, relative)
        if os.path.isfile(path):
            return read_lines(path)
        if not os.path.isdir(path):
            raise FileNotFoundError(relative)
        if relative not in self._images:
            self._images[relative], self.others[relative] = walk(path)
        return self._images[relative]

    def present(self, relative: str) -> bool:
        """Return whether the root has the folder or file `relative`."""
        return os.path.exists(os.path.join(self.root, relative))


def present(listing: Listing, name: str) -> bool:
    """Return whether the listing has a folder or list file of this name."""
    if isinstance(listing, Folders):
        return listing.present(name)
    try:
        listing(name)
    except FileNotFoundError:
        return False
    return True


def read_lines(path: str) -> list[str]:
    """Return the lines of a list file, without line ends. Raises DataError when it cannot be read or is not text."""
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
    """Return "folder", "image" or, for an entry that is left out, its kind or suffix."""
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
