"""Options that both the command lines and the measurements of experiments use. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.options import Candidate

# The value of --split -> the parts of the data set whose images are used.
SPLITS = {"train": ("train",), "test": ("query", "gallery"), "all": ("train", "query", "gallery")}


@dataclass(frozen=True)
class PipelineOptions:
    """How the extraction of features from files is compared with the model alone.

    The model `candidate` extracts features from new JPEG files. They are made of the images at the path `images`, which is a folder or
    a text file that lists images. The model uses the processes and threads of `preset`.

    First, two measurements alternate: the model alone is timed for `seconds` seconds, and the extraction of `slice` files is timed.
    This ends when `count` files are extracted. Then, for each number in `runs`, one new process extracts that many files. With
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


@dataclass(frozen=True)
class FramesOptions:
    """How the features of boxes in frames are compared with the model alone.

    Each of `candidates` is measured with each number of boxes in `people`. A frame is `size` = (width, height) in pixels. In each of
    `rounds` rounds, the model alone and the two forms process the same frames, for about `seconds` seconds each.
    """

    candidates: tuple[Candidate, ...]
    people: tuple[int, ...]
    size: tuple[int, int]
    rounds: int
    seconds: float
    as_json: bool
