"""Read data sets from list files, in which each line is the path, pid, camid and split of one image.

The columns are separated by blanks, commas, semicolons or tabs, and there may be a header. The columns camid and split may be
missing. A pid is -1 for junk and 0 for a distractor. A camid counts from 0 and is -1 if it is unknown. Paths are relative to the
folder of the list file.
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
# The names that a header may give to each column. A list without a header has the columns in this order.
COLUMNS = {
    "path": ("path", "img_path", "image_path", "file", "filename", "image", "img"),
    "pid": ("pid", "person", "person_id", "identity", "id", "label"),
    "camid": ("camid", "cam", "camera", "camera_id", "cam_id", "cid"),
    "split": ("split", "set", "subset"),
}
EXPECTED = "expected: path pid camid (pid and camid are whole numbers; -1 where unknown)"


@dataclass(frozen=True)
class Row:
    """One line of a list file.

    `pid` and `camid` are -1, and `split` is "", if the line does not state them. `path_only` means that the line has only a path.
    """

    path: str
    pid: int = -1
    camid: int = -1
    split: str = ""
    path_only: bool = False


def read_rows(lines: Sequence[str]) -> Iterator[tuple[str, Row | None]]:
    """Yield (line, its Row) for each of the `lines` of a list file. The Row is None if the line cannot be parsed.

    Blank lines and the header are left out.
    """
    lines = [line for line in lines if line.strip()]
    if not lines:
        return
    delimiter = _delimiter(lines)
    columns = _header(_fields(lines[0], delimiter))
    for line in lines[1:] if columns else lines:
        yield line, _row(line, delimiter, columns)


def read_list(root: str, listing: Listing | None) -> Dataset:
    """Read a data set from list files, which state the path and the ids of each image.

    With a `listing`, `root` is a folder with one list file for each of query and gallery, and perhaps one for train: query.csv,
    query.txt or query.tsv, and so on. With `listing` None, `root` is itself the only list file, and must have the column 'split'.
    Raises FileNotFoundError if query or gallery has no list file, and DataError if an image in train or query has pid 0.
    """
    if listing is None:
        folder, lines_of = os.path.dirname(root), {"": read_lines(root)}
        list_names: dict[str, tuple[str, ...]] = dict.fromkeys(SPLITS, (os.path.basename(root),))
    else:
        folder, files = root, list_files(listing)
        for split in ("query", "gallery"):
            if split not in files:
                raise FileNotFoundError(f"{split}.csv")
        lines_of = {split: list(listing(name)) for split, name in files.items()}
        list_names = {split: (files[split],) if split in files else () for split in SPLITS}
    rows: list[tuple[str, str, str]] = []
    parsed: dict[str, Row | None] = {}
    for split, lines in lines_of.items():
        where = os.path.join(folder, list_names[split or SPLITS[0]][0])
        for number, (line, row) in enumerate(read_rows(lines)):
            key = f"{split}:{number}"
            parsed[key] = row
            stated = split or (row.split if row else "")
            rows.append((stated if stated in SPLITS else SPLITS[0], where, f"{key}\0{line}"))

    def to_item(_: str, where: str, text: str) -> Item:
        key, _nul, line = text.partition("\0")
        row = parsed[key]
        if row is None:
            raise DataError(f"{where}: {line}: {EXPECTED}")
        if row.path_only:
            raise DataError(f"{where}: {line}: has no pid; {EXPECTED}")
        if listing is None and row.split not in SPLITS:
            raise DataError(f"{where}: {line}: its column 'split' must be train, query or gallery")
        return Item(os.path.join(folder, row.path), row.pid, row.camid)

    dataset = collected(("list", root, list_names), rows, to_item, by_path=False)
    if zero := next((item.path for item in (*dataset.train, *dataset.query) if item.pid == 0), None):
        raise DataError(
            f"{zero}: has pid 0 in train or query, but pid 0 means a distractor (no known person); count people from 1"
        )
    return dataset


def list_files(listing: Listing) -> Mapping[str, str]:
    """Return {split: the name of its list file} for the splits that have a list file."""
    candidates = {split: [split + suffix for suffix in SUFFIXES] for split in SPLITS}
    files = {
        split: next((name for name in names if present(listing, name)), None)
        for split, names in candidates.items()
    }
    return {split: name for split, name in files.items() if name}


def _delimiter(lines: Sequence[str]) -> str | None:
    """Return the delimiter of the columns, found by the first line; None if they are separated by blanks."""
    for delimiter in (",", ";", "\t"):
        fields = _fields(lines[0], delimiter)
        if len(fields) > 1 and (_header(fields) or _starts_with_number(fields[1:])):
            return delimiter
    return None


def _starts_with_number(fields: Sequence[str]) -> bool:
    return bool(fields) and NUMBER.fullmatch(fields[0].strip()) is not None


def _fields(line: str, delimiter: str | None) -> list[str]:
    """Divide a line into its fields at `delimiter`, or at blanks where it is None."""
    if delimiter is not None:
        return next(csv.reader([line], delimiter=delimiter))
    fields = line.strip().split()
    if _header(fields):
        return fields
    # A path may contain blanks. It ends with the suffix of an image, and the other columns are the numbers after it.
    for count in (2, 1):
        path, *rest = line.strip().rsplit(None, count)
        if len(rest) == count and is_image(path) and all(NUMBER.fullmatch(field) for field in rest):
            return [path, *rest]
    return [line.strip()]


def _header(fields: Sequence[str]) -> dict[str, int]:
    """Return {column: its index} if the fields are a header with at least path and pid; else an empty dict."""
    indices = {field.strip().lower(): index for index, field in enumerate(fields)}
    columns = {
        column: next(indices[name] for name in names if name in indices)
        for column, names in COLUMNS.items()
        if any(name in indices for name in names)
    }
    return columns if {"path", "pid"} <= columns.keys() else {}


def _row(line: str, delimiter: str | None, columns: Mapping[str, int]) -> Row | None:
    """Return the Row of a line, or None if it cannot be parsed; `columns` is the result of `_header`."""
    fields = [field.strip() for field in _fields(line, delimiter)]
    if columns:
        values = {column: fields[index] for column, index in columns.items() if index < len(fields)}
    else:
        if delimiter is not None and is_image(line) and not _starts_with_number(fields[1:]):
            return Row(line.strip(), path_only=True)
        values = dict(zip(COLUMNS, fields))
    if not values.get("path"):
        return None
    numbers = {}
    for column in ("pid", "camid"):
        text = values.get(column, "")
        if text and not NUMBER.fullmatch(text):
            return None
        numbers[column] = int(text.removesuffix(".0")) if text else -1
    path_only = values.keys() == {"path"}
    return Row(values["path"], numbers["pid"], numbers["camid"], values.get("split", "").lower(), path_only)
