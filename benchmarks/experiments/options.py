"""Options that both the command lines and the measurements of experiments use. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.options import Candidate

# The value of --split -> the parts of the data set whose images are used.
SPLITS = {"train": ("train",), "test": ("query", "gallery"), "all": ("train", "query", "gallery")}


@dataclass(frozen=True)
class PipelineOptions:
    """How the extraction of features from files is compared with the model alone.

    The model `candidate` extracts features from new files, which are made of the images in the folder or list `images`. It uses the
    processes and threads of `preset`. First, the extraction of `slice` files and a timing of the model alone, for `seconds` seconds,
    alternate until `count` files are extracted. Then each number in `runs` is the number of files that one new process extracts. With
    `as_json`, the result is printed as one JSON document.
    """

    candidate: Candidate
    images: str
    preset: str
    count: int
    slice: int
    seconds: float
    runs: tuple[int, ...]
    as_json: bool
