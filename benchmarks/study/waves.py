"""Run the study's jobs in processes of their own, a wave at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.study.trials import Job, finished, run_job
from runtime.console import note
from runtime.extraction.processes import each_apart
from runtime.stopping import keeping

LABEL = "synthetic people (Anny-ReID)"


def run_wave(jobs: Sequence[Job], processes: int, work: Callable[[Job], str] = run_job) -> None:
    """Make the cells that are not there yet, `processes` at a time, each on one thread: then numbers do not depend on how many run.

    `work` makes one and gives its name.
    """
    left = [job for job in jobs if not finished(job)]
    if len(left) < len(jobs):
        note(f"{len(jobs) - len(left)} of {len(jobs)} cells are there already")
    if not left:
        return
    made = 0

    def kept() -> str:
        there = len(jobs) - len(left) + made
        return f"{there} of {len(jobs)} cells of this part are kept; the same command goes on with the rest"

    with keeping(kept):
        for name in each_apart(work, left, processes, first=_one_thread):
            made += 1
            note(f"{name} is done, {made} of {len(left)}")


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
