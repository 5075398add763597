"""Data sets in three folders with the person and the camera in the names: Market-1501's way, and others' like it.

The images lie in the folders themselves, or in a folder for each person there, as torchvision's ImageFolder has them.
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
# What a split may lie in, the first that is there is taken: Market-1501's folders, then those that layumi's prepare.py
# writes, where `train_all` is `train` and `val` together.
ALTERNATIVES: dict[str, tuple[tuple[str, ...], ...]] = {
    "train": (("bounding_box_train",), ("train_all",), ("train", "val")),
    "query": (("query",),),
    "gallery": (("bounding_box_test",), ("gallery",), ("test",)),
}


def split_folders(listing: Listing) -> dict[str, tuple[str, ...]]:
    """{split: the folders that hold it}, empty where there are none."""
    found = {}
    for split, alternatives in ALTERNATIVES.items():
        there = (tuple(name for name in names if present(listing, name)) for names in alternatives)
        found[split] = next((names for names in there if names), ())
    return found


def read_folders(layout: str, root: str, listing: Listing) -> Dataset:
    """A data set of this layout in Market-1501's folders, or in layumi's."""
    folders = split_folders(listing)
    for split, names in folders.items():
        # Somebody's own set need not have anything to train on.
        if not names and (split != "train" or layout != "market_like"):
            raise FileNotFoundError(FOLDERS[split])
    found = read_named(layout, root, listing, folders)
    return counted_from_one(found) if layout == "market_like" else found


def read_named(layout: str, root: str, listing: Listing, folders: Mapping[str, Sequence[str]]) -> Dataset:
    """The images of each split's folders, by their names."""
    rows = (
        (split, os.path.join(root, folder, name), name) for split, folder, name in listed(listing, folders)
    )
    return collected(
        (layout, root, folders), rows, lambda _, path, name: Item(path, *parse_path(path, name, layout))
    )


def listed(listing: Listing, folders: Mapping[str, Sequence[str]]) -> Iterable[tuple[str, str, str]]:
    """(split, folder, path below it) of every image."""
    for split in SPLITS:
        for folder in folders[split]:
            for name in image_names(listing(folder)):
                yield split, folder, name


def collected(
    about: tuple[str, str, Mapping[str, Sequence[str]]],
    rows: Iterable[tuple[str, str, str]],
    item: Callable[[str, str, str], Item],
    *,
    by_path: bool = True,
) -> Dataset:
    """The data set (layout, root, places) of rows (split, path, text), of which `item` makes an Item or a DataError.

    A split is sorted by path, or else keeps the rows' order. `skipped` has the rows with an error; images with pid -1 are
    counted and left out.
    """
    layout, root, places = about
    splits: dict[str, list[Item]] = {split: [] for split in SPLITS}
    skipped, junk = [], 0
    for split, path, text in rows:
        try:
            found = item(split, path, text)
        except DataError as error:
            skipped.append((path, str(error)))
            continue
        if found.pid < 0:
            junk += 1
        else:
            splits[split].append(found)
    for items in splits.values() if by_path else ():
        items.sort(key=lambda item: item.path)
    train, query, gallery = map(tuple, splits.values())
    named = tuple((split, names[0]) for split, names in places.items() if names)
    return Dataset(layout, root, train, query, gallery, tuple(sorted(skipped)), junk, (), named)


def counted_from_one(dataset: Dataset) -> Dataset:
    """The same with every pid one higher where people count from 0: where a person to train on or to search for is 0.

    Distractors, whom Market-1501 calls 0, are in the gallery alone.
    """
    if all(item.pid for item in (*dataset.train, *dataset.query)):
        return dataset
    train, query, gallery = (
        tuple(replace(item, pid=item.pid + 1) for item in getattr(dataset, split)) for split in SPLITS
    )
    return replace(dataset, train=train, query=query, gallery=gallery)
