"""Print warnings and skipped images on stderr, and a result on stdout as a table or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from runtime import DatasetSummary, console
from runtime.datasets import Dataset

SHOWN = 5


def print_notes(notes: Iterable[str]) -> None:
    """Print each note as a line on stderr."""
    for text in notes:
        console.note(text)


def print_skipped(skipped: Sequence[str]) -> None:
    """Print the first five texts of `skipped` on stderr, one line for each skipped image, and how many more there are."""
    for text in skipped[:SHOWN]:
        console.note(f"skipped {text}")
    if len(skipped) > SHOWN:
        console.note(f"... and {len(skipped) - SHOWN} more")


def print_data_warnings(dataset: Dataset | DatasetSummary, warnings: Sequence[str]) -> None:
    """Print on stderr what a user should know about a data set that was read, one line each.

    The lines are the texts of `warnings`, then the notes on files that were not read (`left_out`), then the first five images whose
    names are invalid (`skipped`).
    """
    print_notes((*warnings, *dataset.left_out))
    print_skipped([reason for _, reason in dataset.skipped])


def print_result(title: str, result: dict[str, Any], *, as_json: bool) -> None:
    """Print `result` on stdout: with `as_json`, one JSON document, else a table of names and values under `title`."""
    if as_json:
        console.print_json(result)
    else:
        console.print_table(title, ["", "value"], list(result.items()))
