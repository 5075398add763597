"""Peak memory of a model, taken in a process that does nothing else. Times nothing."""

from __future__ import annotations

import numpy as np

from benchmarks.candidate import reopen_candidate
from benchmarks.options import Candidate
from runtime.extraction.processes import ChildGone, apart
from runtime.host.memory import high_water
from runtime.images.preprocess import to_input

# glibc's allocator keeps 200 MB more in one start than in the next: a single process may miss the peak.
PROCESSES = 3
RUNS = 3


def peak_memory(candidate: Candidate, batch: int) -> int | None:
    """Bytes of resident memory at their highest while a new process opens the model and runs it three times.

    The highest of three processes. Nothing is subtracted: interpreter, libraries, weights and working memory
    together are what a device must have. Host memory only. None where the system does not say (not Linux), or
    when a process was killed.
    """
    peaks = [_in_child(candidate, batch) for _ in range(PROCESSES)]
    known = [peak for peak in peaks if peak is not None]
    return max(known) if len(known) == len(peaks) else None


def _in_child(candidate: Candidate, batch: int) -> int | None:
    try:
        found: int | None = apart(_open_and_run, candidate, batch)
    except ChildGone:
        return None
    return found


def _open_and_run(candidate: Candidate, batch: int) -> int | None:
    artifact = reopen_candidate(candidate)
    spec = artifact.spec
    images = to_input(np.full((batch, spec.height, spec.width, 3), 128, np.uint8), spec)
    ids = np.full(batch, spec.mean_camera, np.int64) if spec.camera == "input" else None
    for _ in range(RUNS):
        artifact.run(images, ids)
    return high_water()
