"""Read a data set by its layout, and say what of it was left out. Reads names, never pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from runtime.datasets.files import Folders, in_words, is_image
from runtime.datasets.folders import read_folders
from runtime.datasets.guess import LAYOUTS, guess_layout
from runtime.datasets.item import SPLITS, Dataset, Listing
from runtime.datasets.lists import read_list
from runtime.datasets.msmt17 import read_msmt17
from runtime.datasets.occluded import PLACES, read_occluded
from runtime.datasets.person_folders import read_person_folders
from runtime.errors import ConfigError, DataError

MAX_BAD = 0.01
READERS: dict[str, Callable[[str, Listing], Dataset]] = {
    **{
        name: partial(read_folders, name)
        for name in ("market1501", "occluded_duke", "dukemtmc", "cuhk03_np", "anny", "market_like")
    },
    "msmt17": read_msmt17,
    **{name: partial(read_occluded, name) for name in PLACES},
    "person_folders": read_person_folders,
    "list": read_list,
}


def read_dataset(
    root: str | os.PathLike[str],
    layout: str | None = None,
    *,
    listing: Listing | None = None,
    max_bad: float = MAX_BAD,
) -> Dataset:
    """The data set in folder (or list) `root`; `layout` is guessed where it is None.

    Links to image files are followed; what is no image is counted in `left_out`. Badly named images are in `skipped` while
    they are at most `max_bad` (fraction) of all. DataError: more than that, a missing folder, an empty query or gallery.
    ConfigError: a layout unknown or not to be guessed.
    """
    root = os.fspath(root)
    if layout is not None and layout not in READERS:
        raise ConfigError(f"unknown layout {layout}; say one of {'|'.join(LAYOUTS)}")
    if listing is None and os.path.isfile(root):
        if layout not in (None, "list"):
            raise DataError(
                f"{root}: a file, not a folder, which the layout {layout} needs; a file is a list: leave the layout out, or say list"
            )
        return _checked(read_list(root, None), max_bad)
    names_of = listing or Folders(root)
    layout = layout or guess_layout(root, names_of)
    try:
        found = READERS[layout](root, names_of)
    except FileNotFoundError as error:
        raise DataError(
            f"{root}: no {error.args[0]} in it, which the layout {layout} needs; give the data set's own folder, or its right layout"
        ) from None
    if isinstance(names_of, Folders):
        found = replace(found, left_out=tuple(_left_out(found, names_of)))
    return _checked(found, max_bad)


def training_images(dataset: Dataset) -> Dataset:
    """The data set, which has something to train on; DataError where it has not."""
    if not dataset.train:
        raise DataError(
            f"{dataset.root}: the layout {dataset.layout} has no training images here; train on another data set, and "
            "evaluate on this one"
        )
    return dataset


def _checked(found: Dataset, max_bad: float) -> Dataset:
    bad = len(found.skipped)
    if bad > max_bad * (total := bad + len(found.train) + len(found.query) + len(found.gallery)):
        raise DataError(
            f"{found.skipped[0][1]}; {bad} of {total} are bad; rename them, or give the right layout"
        )
    for split in ("query", "gallery"):
        if not getattr(found, split):
            place = os.path.join(found.root, dict(found.places)[split])
            raise DataError(f"{split} is empty: {place}")
    return found


def _left_out(found: Dataset, listing: Folders) -> list[str]:
    """In words: what is no image in the folders that were read, and what else the root holds."""
    lines = [
        f"{os.path.join(found.root, folder)}: {words}"
        for folder, others in listing.others.items()
        if (words := in_words(others))
    ]
    if found.junk:
        lines.append(f"{found.root}: {found.junk} images left out as junk (pid -1)")
    read = {name.split("/")[0] for name in (*listing.others, *(place for _, place in found.places))}
    start = len(os.path.join(found.root, ""))
    read |= {item.path[start:].split("/")[0] for split in SPLITS for item in getattr(found, split)}
    with os.scandir(found.root) as entries:
        beside = sorted(
            entry.name
            for entry in entries
            if entry.name not in read
            and not entry.name.startswith(".")
            and (entry.is_dir() or is_image(entry.name))
        )
    if beside:
        shown = ", ".join(beside[:5]) + (f" and {len(beside) - 5} more" if len(beside) > 5 else "")
        lines.append(f"{found.root}: not part of the layout {found.layout} and not read: {shown}")
    return lines
