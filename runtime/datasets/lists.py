"""Any data set as a list of `path pid camid`: text with blanks, or CSV with or without names of its columns.

A pid is -1 for junk and 0 for a distractor, a camid counts from 0 and is -1 where it is unknown; the columns camid and
split may be missing. Paths are relative to the list's folder.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runtime.datasets.files import is_image, present, read_lines
from runtime.datasets.folders import collected
from runtime.datasets.item import SPLITS, Dataset, Item, Listing
from runtime.errors import DataError

SUFFIXES = (".csv", ".txt", ".tsv")
NUMBER = re.compile(r"(-1|[0-9]{1,9})(?:\.0)?")
# What a column's name may be; a list without such names has them in this order.
COLUMNS = {
    "path": ("path", "img_path", "image_path", "file", "filename", "image", "img"),
    "pid": ("pid", "person", "person_id", "identity", "id", "label"),
    "camid": ("camid", "cam", "camera", "camera_id", "cam_id", "cid"),
    "split": ("split", "set", "subset"),
}
EXPECTED = "expected: path pid camid (whole numbers; -1 where unknown)"


@dataclass(frozen=True)
class Row:
    """One line: `pid` and `camid` are -1 where the line does not say them; `bare` where it is a path alone."""

    path: str
    pid: int = -1
    camid: int = -1
    split: str = ""
    bare: bool = False


def read_rows(lines: Sequence[str]) -> Iterator[tuple[str, Row | None]]:
    """(line, what it says) of each line that is not blank; None where it is neither a path alone nor path, pid, camid."""
    filled = [line for line in lines if line.strip()]
    if not filled:
        return
    delimiter = _delimiter(filled)
    names = _header(_fields(filled[0], delimiter))
    for line in filled[1:] if names else filled:
        yield line, _row(line, delimiter, names)


def read_list(root: str, listing: Listing | None) -> Dataset:
    """The data set of a folder with lists query.csv, gallery.csv and perhaps train.csv (or .txt, .tsv), or of one list.

    One list for all needs the column split. DataError where a person to train on or to search for has pid 0.
    """
    if listing is None:
        folder, tables = os.path.dirname(root), {"": read_lines(root)}
        places: dict[str, tuple[str, ...]] = dict.fromkeys(SPLITS, (os.path.basename(root),))
    else:
        folder, files = root, list_files(listing)
        for split in ("query", "gallery"):
            if split not in files:
                raise FileNotFoundError(f"{split}.csv")
        tables = {split: list(listing(name)) for split, name in files.items()}
        places = {split: (files[split],) if split in files else () for split in SPLITS}
    rows, read = [], {}
    for split, lines in tables.items():
        where = os.path.join(folder, places[split or SPLITS[0]][0])
        for number, (line, row) in enumerate(read_rows(lines)):
            key = f"{split}:{number}"
            read[key] = row
            named = split or (row.split if row else "")
            rows.append((named if named in SPLITS else SPLITS[0], where, f"{key}\0{line}"))

    def item(_: str, where: str, text: str) -> Item:
        key, _nul, line = text.partition("\0")
        row = read[key]
        if row is None:
            raise DataError(f"{where}: {line}: {EXPECTED}")
        if row.bare:
            raise DataError(f"{where}: {line}: says no person; {EXPECTED}")
        if listing is None and row.split not in SPLITS:
            raise DataError(f"{where}: {line}: its column split must say train, query or gallery")
        return Item(os.path.join(folder, row.path), row.pid, row.camid)

    found = collected(("list", root, places), rows, item, by_path=False)
    if zero := next((item.path for item in (*found.train, *found.query) if item.pid == 0), None):
        raise DataError(
            f"{zero}: has pid 0, which means a distractor that matches nobody; count people from 1"
        )
    return found


def list_files(listing: Listing) -> Mapping[str, str]:
    """{split: its list} of those that the folder has."""
    names = {split: [split + suffix for suffix in SUFFIXES] for split in SPLITS}
    found = {
        split: next((name for name in some if present(listing, name)), None) for split, some in names.items()
    }
    return {split: name for split, name in found.items() if name}


def _delimiter(lines: Sequence[str]) -> str | None:
    """What parts the columns: the sign that parts the first line so that it is a header or a row; None for blanks."""
    for sign in (",", ";", "\t"):
        fields = _fields(lines[0], sign)
        if len(fields) > 1 and (_header(fields) or _numbers(fields[1:])):
            return sign
    return None


def _numbers(fields: Sequence[str]) -> bool:
    return bool(fields) and NUMBER.fullmatch(fields[0].strip()) is not None


def _fields(line: str, delimiter: str | None) -> list[str]:
    if delimiter is not None:
        return next(csv.reader([line], delimiter=delimiter))
    fields = line.strip().split()
    if _header(fields):
        return fields
    # A path may have blanks in it: the columns behind it are those at the end that cannot belong to a file's name.
    for count in (2, 1):
        path, *rest = line.strip().rsplit(None, count)
        if len(rest) == count and is_image(path) and all(NUMBER.fullmatch(field) for field in rest):
            return [path, *rest]
    return [line.strip()]


def _header(fields: Sequence[str]) -> dict[str, int]:
    """{column: its place} where the fields are names of columns, path among them; else empty."""
    places = {field.strip().lower(): place for place, field in enumerate(fields)}
    found = {
        column: next(places[name] for name in names if name in places)
        for column, names in COLUMNS.items()
        if any(name in places for name in names)
    }
    return found if {"path", "pid"} <= found.keys() else {}


def _row(line: str, delimiter: str | None, names: Mapping[str, int]) -> Row | None:
    fields = [field.strip() for field in _fields(line, delimiter)]
    if names:
        given = {column: fields[place] for column, place in names.items() if place < len(fields)}
    else:
        if delimiter is not None and is_image(line) and not _numbers(fields[1:]):
            return Row(line.strip(), bare=True)
        given = dict(zip(COLUMNS, fields))
    if not given.get("path"):
        return None
    numbers = {}
    for column in ("pid", "camid"):
        text = given.get(column, "")
        if text and not NUMBER.fullmatch(text):
            return None
        numbers[column] = int(text.removesuffix(".0")) if text else -1
    bare = given.keys() == {"path"}
    return Row(given["path"], numbers["pid"], numbers["camid"], given.get("split", "").lower(), bare)
