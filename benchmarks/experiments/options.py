"""Options of the experiments that their measuring reads, too. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.options import Candidate

# Which people of a data set: the parts of it that hold their pictures.
SPLITS = {"train": ("train",), "test": ("query", "gallery"), "all": ("train", "query", "gallery")}


@dataclass(frozen=True)
class PipelineOptions:
    """Which model extracts from which images, and in which layout.

    `count` files are extracted in turns, `slice` of them between two looks of `seconds` at the bare engine; then as many as each of
    `runs` says, in a new process.
    """

    candidate: Candidate
    images: str
    preset: str
    count: int
    slice: int
    seconds: float
    runs: tuple[int, ...]
    as_json: bool
