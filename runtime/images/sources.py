"""Find the images of any folder or list file, or a single image, with their persons and cameras. Reads names, never pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from runtime.console import note
from runtime.datasets import (
    IMAGE_SUFFIXES,
    Dataset,
    Item,
    count_warnings,
    read_dataset,
    read_lines,
    surrounding_root,
)
from runtime.datasets.cameras import dataset_name
from runtime.datasets.files import is_image, left_out_text, walk
from runtime.datasets.lists import read_rows
from runtime.datasets.names import ids_in_name
from runtime.errors import ConfigError, DataError


@dataclass(frozen=True)
class Images:
    """The images that were found in a folder, a list file or a single file.

    `notes` are sentences about them for the user. `dataset` is the data set in whose folder they are, or None.
    """

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    dataset: Dataset | None = None

    @property
    def layout(self) -> str | None:
        """The layout of the data set; None if `dataset` is None."""
        return self.dataset.layout if self.dataset else None

    @cached_property
    def dataset_name(self) -> str | None:
        """The name of the data set that the images belong to (`runtime.datasets.cameras.dataset_name`); None if it is not certain."""
        return dataset_name(self.dataset.layout, count_warnings(self.dataset)) if self.dataset else None


def read_images(source: str | os.PathLike[str]) -> list[Item]:
    """Return the images that `list_images` finds in `source`, and print the notes about them on stderr."""
    images = list_images(source)
    for line in images.notes:
        note(line)
    return list(images.items)


def list_images(source: str | os.PathLike[str]) -> Images:
    """Return the images of `source`: a folder (recursive, sorted by path), a list file (in its order), or a single image file.

    In a folder, links to files are followed and links to folders are not. The notes say how many files are not images. Each line of
    a list file is a path alone, or a path, a pid and perhaps a camid, as `runtime.datasets.lists` reads them. Paths are relative to
    the folder of the list. Where only the path is given, the person and the camera are read from the file name, if it has the form
    of a published data set; otherwise both are -1. Raises DataError if `source` does not exist or contains no image.
    """
    source = os.fspath(source)
    if os.path.isdir(source):
        names, others = walk(source)
        items = [_item(os.path.join(source, name)) for name in names]
        left_out = left_out_text(others)
        notes = [f"{source}: {left_out}"] if left_out else []
    elif not os.path.isfile(source):
        raise DataError(f"{source}: no such folder or file; give a folder of images or a list of them")
    elif is_image(source):
        items, notes = [_item(source)], []
    else:
        items = _listed_items(os.path.dirname(source), read_lines(source))
        count = sum(item.pid == 0 for item in items)
        notes = (
            [f"{source}: {count} images have pid 0, which means a distractor (no known person)"]
            if count
            else []
        )
    if not items:
        reason = f", {notes[0].removeprefix(f'{source}: ')}" if notes else ""
        raise DataError(
            f"{source}: contains no image; give another folder or list (image files end in {' '.join(IMAGE_SUFFIXES)}){reason}"
        )
    return Images(tuple(items), tuple(notes))


def labelled_images(source: str | os.PathLike[str], layout: str | None = None) -> Images:
    """Return the images that `list_images` finds in `source`, with the persons and cameras that an evaluation would use.

    If `source` is an image folder of a data set, the persons and cameras are those that `read_dataset` gives for the whole data set,
    and an image in none of its splits has pid -1. Otherwise the result is that of `list_images`. `layout` is the layout of the data
    set. None guesses it; if the data set then cannot be read, the result is that of `list_images`, too. If `layout` is given, this
    function raises ConfigError when `source` is not an image folder of a data set, and the errors of `read_dataset`.
    """
    images = list_images(source)
    path = os.path.abspath(source)
    root = surrounding_root(path) if os.path.isdir(path) else None
    if root is None:
        if layout is not None:
            raise ConfigError(
                f"{os.fspath(source)}: not an image folder of a data set, such as its query or gallery, so it has "
                "no layout; leave layout out (--layout)"
            )
        return images
    try:
        # Any number of bad names is accepted: those images get pid -1, and an evaluation refuses too many of them.
        dataset = read_dataset(root, layout, max_bad=1)
    except ConfigError:
        if layout is not None:
            raise
        return images
    except DataError as error:
        if layout is not None:
            raise
        note = f"persons and cameras come from the file names alone, because the data set cannot be read: {error}"
        return replace(images, notes=(*images.notes, note))
    by_path = {item.path: item for item in (*dataset.train, *dataset.query, *dataset.gallery)}
    pairs = [(item, by_path.get(os.path.abspath(item.path))) for item in images.items]
    if not any(labelled for _, labelled in pairs):
        return images
    items = tuple(
        Item(item.path, labelled.pid, labelled.camid)
        if labelled
        else Item(item.path, -1, item.camid if item.pid < 0 else -1)
        for item, labelled in pairs
    )
    return replace(images, items=items, dataset=dataset)


def _listed_items(folder: str, lines: Sequence[str]) -> list[Item]:
    """Return the items of a list's lines. A line that cannot be parsed is taken as a path; opening it will then fail."""
    items = []
    for line, row in read_rows(lines):
        path = os.path.join(folder, row.path if row else line.strip())
        items.append(_item(path) if row is None or row.path_only else Item(path, row.pid, row.camid))
    return items


def _item(path: str) -> Item:
    """Return the Item of an image, with the person and the camera in its name (`ids_in_name`)."""
    return Item(path, *ids_in_name(path))
