"""The images of a folder or a list file that need not be a data set. Reads names, never pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from runtime import console
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
from runtime.datasets.files import in_words, is_image, walk
from runtime.datasets.lists import read_rows
from runtime.datasets.names import carried
from runtime.errors import ConfigError, DataError


@dataclass(frozen=True)
class Images:
    """The images of one source; `notes` says in words what was left out of it or is odd, `dataset` what it is a folder of."""

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    dataset: Dataset | None = None

    @property
    def layout(self) -> str | None:
        """The layout of the data set."""
        return self.dataset.layout if self.dataset else None

    @cached_property
    def dataset_name(self) -> str | None:
        """The published data set that this surely is, or None (`runtime.datasets.cameras.dataset_name`)."""
        return dataset_name(self.dataset.layout, count_warnings(self.dataset)) if self.dataset else None


def read_images(source: str | os.PathLike[str]) -> list[Item]:
    """The items of `list_images`; its notes go to stderr."""
    images = list_images(source)
    for text in images.notes:
        console.note(text)
    return list(images.items)


def list_images(source: str | os.PathLike[str]) -> Images:
    """The images of a folder (recursive, sorted), of a list file, or one image file.

    Links to files are followed, links to folders are not; what is no image is counted. A list file holds a path, or path pid
    camid, per line, the path relative to its own folder; its order is kept. Identity and camera are otherwise read from names
    in a published layout, else -1. DataError: no such path, no image in it, not a list.
    """
    source = os.fspath(source)
    if os.path.isdir(source):
        names, others = walk(source)
        items = [_named(os.path.join(source, name)) for name in names]
        words = in_words(others)
        notes = [f"{source}: {words}"] if words else []
    elif not os.path.isfile(source):
        raise DataError(f"{source}: no such folder or file; give a folder of images or a list of them")
    elif is_image(source):
        items, notes = [_named(source)], []
    else:
        items = _of_list(os.path.dirname(source), read_lines(source))
        zero = sum(item.pid == 0 for item in items)
        notes = [f"{source}: {zero} images have pid 0, a distractor that matches nobody"] if zero else []
    if not items:
        left_out = f", {notes[0].removeprefix(f'{source}: ')}" if notes else ""
        raise DataError(f"{source}: no image in it; looked for {' '.join(IMAGE_SUFFIXES)}{left_out}")
    return Images(tuple(items), tuple(notes))


def labelled_images(source: str | os.PathLike[str], layout: str | None = None) -> Images:
    """As `list_images`; persons and cameras of a folder of a data set are those that `read_dataset` finds.

    That is what the data set's own evaluation uses: an image that is in none of its splits has pid -1. `layout` is guessed
    where it is None. ConfigError where `layout` is given for what is no folder of a data set.
    """
    images = list_images(source)
    folder = os.path.abspath(source)
    root = surrounding_root(folder) if os.path.isdir(folder) else None
    if root is None:
        if layout is not None:
            raise ConfigError(
                f"{os.fspath(source)}: no folder of a data set's query or gallery; leave --layout out"
            )
        return images
    try:
        # However many names cannot be read: those images are nobody's here, and an evaluation says when there are too many.
        dataset = read_dataset(root, layout, max_bad=1)
    except ConfigError:
        if layout is not None:
            raise
        return images
    except DataError as error:
        if layout is not None:
            raise
        note = (
            f"persons and cameras come from the names alone, because this is not read as a data set: {error}"
        )
        return replace(images, notes=(*images.notes, note))
    known = {item.path: item for item in (*dataset.train, *dataset.query, *dataset.gallery)}
    found = [(item, known.get(os.path.abspath(item.path))) for item in images.items]
    if not any(own for _, own in found):
        return images
    items = tuple(
        Item(item.path, own.pid, own.camid)
        if own
        else Item(item.path, -1, item.camid if item.pid < 0 else -1)
        for item, own in found
    )
    return replace(images, items=items, dataset=dataset)


def _of_list(folder: str, lines: Sequence[str]) -> list[Item]:
    """The items of a list's lines; what cannot be read as columns is taken for a path, and fails when it is opened."""
    items = []
    for line, row in read_rows(lines):
        path = os.path.join(folder, row.path if row else line.strip())
        items.append(_named(path) if row is None or row.bare else Item(path, row.pid, row.camid))
    return items


def _named(path: str) -> Item:
    """The image, with the person and the camera that its name carries in a published layout; else -1."""
    return Item(path, *carried(path))
