"""Options that both the command lines and the measurements of experiments use. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.options import Candidate

# --split -> the splits of the data set whose images are used
SPLITS = {"train": ("train",), "test": ("query", "gallery"), "all": ("train", "query", "gallery")}


@dataclass(frozen=True)
class PipelineOptions:
    """Which model extracts from which images, and in which layout.

    `count` files are extracted in turns: `slice` of them between two timings of the model alone, which last `seconds` each. Then
    a new process extracts as many images as each number in `runs`.
    """

    candidate: Candidate
    images: str
    preset: str
    count: int
    slice: int
    seconds: float
    runs: tuple[int, ...]
    as_json: bool
