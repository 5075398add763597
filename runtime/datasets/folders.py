"""Find the folders of each split, and read data sets whose file names state the person and the camera.

Market-1501 and many other data sets have one folder for each of train, query and gallery. The images are in that folder itself, or,
as for torchvision's ImageFolder, in one folder for each person inside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from runtime.datasets.files import image_names, present
from runtime.datasets.item import SPLITS, Dataset, Item, Listing
from runtime.datasets.names import parse_path
from runtime.errors import DataError

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
# For each split, groups of folders that may hold its images; `split_folders` chooses one group. Each split has Market-1501's folder
# and those that prepare.py of layumi/Person_reID_baseline_pytorch writes, where `train_all` contains the images of `train` and `val`.
ALTERNATIVES: dict[str, tuple[tuple[str, ...], ...]] = {
    "train": (("bounding_box_train",), ("train_all",), ("train", "val")),
    "query": (("query",),),
    "gallery": (("bounding_box_test",), ("gallery",), ("test",)),
}
OCCLUDED, PARTIAL, WHOLE = "occluded_body_images", "partial_body_images", "whole_body_images"
# For each layout that `runtime.datasets.occluded` reads, the folders of each split.
LAYOUT_FOLDERS: dict[str, Mapping[str, tuple[str, ...]]] = {
    "occluded_reid": {"train": (), "query": (OCCLUDED,), "gallery": (WHOLE,)},
    # Partial-REID has two sets of queries: people behind objects, and their visible parts, cropped by hand.
    "partial_reid": {"train": (), "query": (PARTIAL,), "gallery": (WHOLE,)},
    "partial_reid_occluded": {"train": (), "query": (OCCLUDED,), "gallery": (WHOLE,)},
    "p_dukemtmc": {
        "train": (f"train/{OCCLUDED}", f"train/{WHOLE}"),
        "query": (f"test/{OCCLUDED}",),
        "gallery": (f"test/{WHOLE}",),
    },
}


def split_folders(listing: Listing) -> dict[str, tuple[str, ...]]:
    """Return {split: names of the folders with its images}; the tuple is () for a split without folders.

    For each split, ALTERNATIVES lists groups of folder names. If any folder of the first group exists, the result has the existing
    folders of this group. Otherwise the next group is tried, and so on.
    """
    folders = {}
    for split, alternatives in ALTERNATIVES.items():
        existing = (tuple(name for name in names if present(listing, name)) for names in alternatives)
        folders[split] = next((names for names in existing if names), ())
    return folders


def read_folders(layout: str, root: str, listing: Listing) -> Dataset:
    """Read a data set with the folders that `split_folders` finds; its file names must match a form of `layout` in `names.FORMS`.

    `root` is its folder, and `listing` lists the files in it. Raises FileNotFoundError with the name of the missing folder if a split
    has no folder. Only in the layout "market_like", train may be missing.
    """
    folders = split_folders(listing)
    for split, names in folders.items():
        # A user's own data set may have no training images.
        if not names and (split != "train" or layout != "market_like"):
            raise FileNotFoundError(FOLDERS[split])
    dataset = read_named(layout, root, listing, folders)
    return counted_from_one(dataset) if layout == "market_like" else dataset


def read_named(layout: str, root: str, listing: Listing, folders: Mapping[str, Sequence[str]]) -> Dataset:
    """Read the images in `folders`, {split: folders below root}; their names must match a form of `layout` in `names.FORMS`."""
    rows = (
        (split, os.path.join(root, folder, name), name)
        for split, folder, name in images_below(listing, folders)
    )
    return collected(
        (layout, root, folders), rows, lambda _, path, name: Item(path, *parse_path(path, name, layout))
    )


def images_below(listing: Listing, folders: Mapping[str, Sequence[str]]) -> Iterable[tuple[str, str, str]]:
    """Yield (split, folder, path below that folder) of every image in `folders`, {split: folders}."""
    for split in SPLITS:
        for folder in folders[split]:
            for name in image_names(listing(folder)):
                yield split, folder, name


def collected(
    source: tuple[str, str, Mapping[str, Sequence[str]]],
    rows: Iterable[tuple[str, str, str]],
    to_item: Callable[[str, str, str], Item],
    *,
    by_path: bool = True,
) -> Dataset:
    """Return the Dataset of the images in `rows`, where each row is (split, path, text).

    For images found in folders, `path` is the path of the image, and `text` is its end, below the folder of the split. For images
    found in a list file, `path` is the path of the list file, and `text` contains the line of the image. `to_item(split, path, text)`
    reads the ids from `text` and returns the Item of the row. If it raises a DataError, (path, reason) goes into `Dataset.skipped`.
    Images with pid -1 are counted as junk and left out.

    `source` is (layout, root, {split: its folders or list files}). With `by_path`, each split is sorted by the path of the image;
    otherwise it keeps the order of the rows.
    """
    layout, root, folders = source
    splits: dict[str, list[Item]] = {split: [] for split in SPLITS}
    skipped, junk = [], 0
    for split, path, text in rows:
        try:
            item = to_item(split, path, text)
        except DataError as error:
            skipped.append((path, str(error)))
            continue
        if item.pid < 0:
            junk += 1
        else:
            splits[split].append(item)
    for items in splits.values() if by_path else ():
        items.sort(key=lambda item: item.path)
    train, query, gallery = map(tuple, splits.values())
    first_folders = tuple((split, names[0]) for split, names in folders.items() if names)
    return Dataset(layout, root, train, query, gallery, tuple(sorted(skipped)), junk, (), first_folders)


def counted_from_one(dataset: Dataset) -> Dataset:
    """Return the data set with pids that count from 1, so that pid 0 can only mean a distractor.

    If an image of train or query has pid 0, every pid in all splits is raised by one. Such an image cannot be a distractor, because
    distractors are in the gallery only. So its data set counts people from 0. If train and query have no pid 0, the data set is
    returned unchanged.
    """
    if all(item.pid for item in (*dataset.train, *dataset.query)):
        return dataset
    train, query, gallery = (
        tuple(replace(item, pid=item.pid + 1) for item in getattr(dataset, split)) for split in SPLITS
    )
    return replace(dataset, train=train, query=query, gallery=gallery)
