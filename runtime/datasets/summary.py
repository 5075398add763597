"""The public function `inspect_dataset`: count the images, identities and cameras of a data set. Reads file names, never pixels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from runtime.datasets.published import count_warnings, counts
from runtime.datasets.reading import MAX_BAD, read_dataset


@dataclass(frozen=True)
class SplitCounts:
    """The numbers of images, identities and cameras of a split.

    Distractors, which all have pid 0, count as one identity. Unknown cameras are not counted.
    """

    images: int
    identities: int
    cameras: int

    def to_json(self) -> dict[str, int]:
        """Return {images, identities, cameras}."""
        return asdict(self)


@dataclass(frozen=True)
class DatasetSummary:
    """What a data set holds: its layout, and the counts of its splits "train", "query" and "gallery".

    `warnings` has a sentence for each split that differs from the published data set, and one for queries that can never match.
    `skipped` lists (path, reason) of images whose names could not be read. `left_out` has sentences about what else was not read.
    """

    layout: str
    splits: Mapping[str, SplitCounts]
    warnings: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]


def inspect_dataset(
    root: str | os.PathLike[str], *, layout: str | None = None, max_bad: float = MAX_BAD
) -> DatasetSummary:
    """Return the numbers of images, identities and cameras of the data set at `root`, a folder or a list file.

    `layout` is one of `runtime.datasets.READERS`; None guesses it from the folder. The images themselves are not opened.

    Raises ConfigError for a layout that is unknown or cannot be guessed. Raises DataError for a missing folder, for a list file with
    another layout than "list", for an empty query or gallery, and if the names of more than the fraction `max_bad` (0..1) of all
    images do not fit the layout.
    """
    dataset = read_dataset(root, layout, max_bad=max_bad)
    return DatasetSummary(
        layout=dataset.layout,
        splits={name: SplitCounts(**numbers) for name, numbers in counts(dataset).items()},
        warnings=tuple(count_warnings(dataset)),
        skipped=dataset.skipped,
        left_out=dataset.left_out,
    )
