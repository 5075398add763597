"""Print the output of the commands: results on stdout; notes, warnings and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from runtime.wording import printable


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout, with `title` above it. If all names in `columns` are empty, it has no header.

    Numbers are right-aligned. In a terminal, long cells are folded; in a file, each row is one line.
    """
    filled = [[_cell(value) for value in row] for row in rows]
    table = Table(title=Text(printable(title)), title_justify="left", show_header=any(columns))
    for name in columns:
        table.add_column(name, overflow="fold")
    for cells in filled:
        table.add_row(*cells)
    width = None if sys.stdout.isatty() else 10_000
    Console(file=sys.stdout, highlight=False, width=width).print(table)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout, in ASCII only, so that every terminal can show every file name."""
    print(json.dumps(document, indent=1, allow_nan=False))


def note(text: str) -> None:
    """Print `text` on stderr as one line."""
    print(printable(text), file=sys.stderr)


@contextmanager
def progress(title: str, total: int, *, noun: str = "images") -> Iterator[Callable[[int], None]]:
    """Show on stderr how many of `total` images are done while the block runs; `title` names the work.

    Yields a function, which must be called with the number of images done since its last call. A terminal shows a progress
    bar. Otherwise, one line is printed at the end of the block. `noun` says what is counted.
    """
    if not sys.stderr.isatty():
        done = 0

        def count(images: int) -> None:
            nonlocal done
            done += images

        yield count
        note(f"{title}: {done} of {total} {noun} read")
        return
    with progress_bar() as bar:
        task = bar.add_task(escape(printable(title)), total=total)
        yield lambda images: bar.advance(task, images)


def progress_bar(*, shown: bool = True) -> Progress:
    """Return a `rich.progress.Progress` for a `with` block: it draws progress bars on stderr and erases them when the block ends.

    It draws nothing if `shown` is False or stderr is not a terminal.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = not shown or not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True)


def _cell(value: object) -> Text:
    if isinstance(value, float):
        return Text(f"{value:.4f}", justify="right")
    return Text(printable(str(value)), justify="right" if isinstance(value, int) else "left")
