"""Read a data set in a given or guessed layout, and report the files that were left out. Reads file names, never pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from runtime.datasets.files import Folders, is_image, left_out_text
from runtime.datasets.folders import LAYOUT_FOLDERS, read_folders
from runtime.datasets.guess import LAYOUTS, guess_layout
from runtime.datasets.item import SPLITS, Dataset, Listing
from runtime.datasets.lists import read_list
from runtime.datasets.msmt17 import read_msmt17
from runtime.datasets.occluded import read_occluded
from runtime.datasets.person_folders import read_person_folders
from runtime.errors import ConfigError, DataError

# The default of `max_bad`: the largest fraction of unusable images that is not an error.
MAX_BAD = 0.01
# The reader of each layout, a function of (root, listing). The layouts are the choices of --layout.
READERS: dict[str, Callable[[str, Listing], Dataset]] = {
    **{
        name: partial(read_folders, name)
        for name in ("market1501", "occluded_duke", "dukemtmc", "cuhk03_np", "anny", "market_like")
    },
    "msmt17": read_msmt17,
    **{name: partial(read_occluded, name) for name in LAYOUT_FOLDERS},
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
    """Read the data set at `root`, a folder or a list file.

    `layout` is a key of READERS; None guesses it. `listing` replaces the disk as the source of file names. In the result, `skipped`
    lists the images whose names do not fit the layout, and `left_out` tells of other files that were not read.

    Raises ConfigError for a layout that is unknown or cannot be guessed. Raises DataError for a missing folder, for a list file with
    another layout than "list", for an empty query or gallery, and if more than the fraction `max_bad` (0..1) of all images is skipped.
    """
    root = os.fspath(root)
    if layout is not None and layout not in READERS:
        raise ConfigError(f"unknown layout {layout}; give one of {'|'.join(LAYOUTS)}")
    if listing is None and os.path.isfile(root):
        if layout not in (None, "list"):
            raise DataError(
                f"{root}: a file, but the layout {layout} needs a folder; give a folder, or layout list to read it as a list"
            )
        return _checked(read_list(root, None), max_bad)
    names_of = listing or Folders(root)
    layout = layout or guess_layout(root, names_of)
    try:
        dataset = READERS[layout](root, names_of)
    except FileNotFoundError as error:
        raise DataError(
            f"{root}: has no {error.args[0]}, which the layout {layout} needs; give the data set's own folder, or the right layout"
        ) from None
    if isinstance(names_of, Folders):
        dataset = replace(dataset, left_out=tuple(_left_out(dataset, names_of)))
    return _checked(dataset, max_bad)


def training_images(dataset: Dataset) -> Dataset:
    """Return the data set unchanged if it has training images; raise DataError otherwise."""
    if not dataset.train:
        raise DataError(
            f"{dataset.root}: no training images (layout {dataset.layout}); train on another data set and "
            "evaluate on this one"
        )
    return dataset


def _checked(dataset: Dataset, max_bad: float) -> Dataset:
    """Return the data set unchanged; raise DataError for too many skipped images, and for an empty query or gallery."""
    bad = len(dataset.skipped)
    if bad > max_bad * (total := bad + len(dataset.train) + len(dataset.query) + len(dataset.gallery)):
        raise DataError(
            f"{dataset.skipped[0][1]}; {bad} of {total} file names or list lines do not fit; "
            "correct them, or give the right layout (--layout)"
        )
    for split in ("query", "gallery"):
        if not getattr(dataset, split):
            folder = os.path.join(dataset.root, dict(dataset.folders)[split])
            raise DataError(f"the {split} set is empty: {folder}; put images there, or give the right layout")
    return dataset


def _left_out(dataset: Dataset, listing: Folders) -> list[str]:
    """Return sentences about files that are not images, junk images, and folders and images of the root that were not read."""
    lines = [
        f"{os.path.join(dataset.root, folder)}: {text}"
        for folder, others in listing.others.items()
        if (text := left_out_text(others))
    ]
    if dataset.junk:
        lines.append(f"{dataset.root}: {dataset.junk} images left out as junk (pid -1)")
    read = {name.split("/")[0] for name in (*listing.others, *(folder for _, folder in dataset.folders))}
    start = len(os.path.join(dataset.root, ""))
    read |= {item.path[start:].split("/")[0] for split in SPLITS for item in getattr(dataset, split)}
    with os.scandir(dataset.root) as entries:
        unread = sorted(
            entry.name
            for entry in entries
            if entry.name not in read
            and not entry.name.startswith(".")
            and (entry.is_dir() or is_image(entry.name))
        )
    if unread:
        shown = ", ".join(unread[:5]) + (f" and {len(unread) - 5} more" if len(unread) > 5 else "")
        lines.append(f"{dataset.root}: not part of the layout {dataset.layout} and not read: {shown}")
    return lines
