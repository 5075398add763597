"""Measure the peak memory of a model in processes that run only this model."""

from __future__ import annotations

import numpy as np

from benchmarks.candidate import reopen_candidate
from benchmarks.options import Candidate
from runtime.extraction.processes import ChildGone, apart
from runtime.host.memory import high_water
from runtime.images.preprocess import to_input

# The memory that glibc's allocator keeps differs by up to 200 MB between starts, so one process may miss the peak.
PROCESSES = 3
RUNS = 3


def peak_memory(candidate: Candidate, batch: int) -> int | None:
    """Return the peak resident memory, in bytes, of a new process that opens the model and runs it on `batch` images three times.

    Three such processes are measured, and the highest peak counts. The peak includes the interpreter, the libraries, the weights and
    the working memory, because a device must have room for all of them. It covers the memory of the host, not that of a GPU.
    Returns None on a system other than Linux, which reports no peak, or if a process was killed.
    """
    peaks = [_in_child(candidate, batch) for _ in range(PROCESSES)]
    known_peaks = [peak for peak in peaks if peak is not None]
    return max(known_peaks) if len(known_peaks) == len(peaks) else None


def _in_child(candidate: Candidate, batch: int) -> int | None:
    try:
        peak: int | None = apart(_open_and_run, candidate, batch)
    except ChildGone:
        return None
    return peak


def _open_and_run(candidate: Candidate, batch: int) -> int | None:
    artifact = reopen_candidate(candidate)
    spec = artifact.spec
    images = to_input(np.full((batch, spec.height, spec.width, 3), 128, np.uint8), spec)
    ids = np.full(batch, spec.mean_camera, np.int64) if spec.camera == "input" else None
    for _ in range(RUNS):
        artifact.run(images, ids)
    return high_water()
