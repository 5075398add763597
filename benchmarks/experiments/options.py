"""Options that both the command lines and the measurements of experiments use. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.options import Candidate

# The value of --split -> the parts of the data set whose images are used.
SPLITS = {"train": ("train",), "test": ("query", "gallery"), "all": ("train", "query", "gallery")}


@dataclass(frozen=True)
class PipelineOptions:
    """How the extraction of features from files is compared with the model alone.

    `candidate` extracts from new files that are made of the images in `images`, with the processes and threads of `preset`. In turns,
    `slice` files are extracted and the model alone is timed for `seconds`, until `count` files are done. Then, for each number in
    `runs`, a new process extracts so many files.
    """

    candidate: Candidate
    images: str
    preset: str
    count: int
    slice: int
    seconds: float
    runs: tuple[int, ...]
    as_json: bool
