"""The images of a folder or a list file that need not be a data set. Reads names, never pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable

from runtime.datasets import IMAGE_SUFFIXES, Item, image_names, parse_name, read_lines
from runtime.errors import DataError


def read_images(source: str | os.PathLike[str]) -> list[Item]:
    """The images of a folder (recursive, sorted, regular files, no links), of a list file, or one image file.

    A list file holds one path per line, relative to its own folder; its order is kept. Identity and camera
    are read from names in a published layout, else -1. DataError: no such path, no image in it, not a list.
    """
    source = os.fspath(source)
    if os.path.isdir(source):
        paths = sorted(_walk(source))
    elif not os.path.isfile(source):
        raise DataError(f"{source}: no such folder or file; give a folder of images or a list of them")
    elif source.lower().endswith(IMAGE_SUFFIXES):
        paths = [source]
    else:
        folder = os.path.dirname(source)
        paths = [os.path.join(folder, line) for line in read_lines(source) if line.strip()]
    if not paths:
        raise DataError(f"{source}: no image in it; looked for {' '.join(IMAGE_SUFFIXES)}")
    return [Item(path, *_carried(path)) for path in paths]


def _carried(path: str) -> tuple[int, int]:
    for layout in ("market1501", "dukemtmc", "msmt17"):
        try:
            return parse_name(path, layout)
        except DataError:
            continue
    return -1, -1


def _walk(root: str) -> Iterable[str]:
    for folder, _, names in os.walk(root):
        for name in image_names(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path
