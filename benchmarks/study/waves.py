"""Run a list of trials of a study in parallel processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.study.trials import Job, finished, run_trial
from runtime.console import note
from runtime.extraction.processes import each_apart
from runtime.stopping import keeping

LABEL = "synthetic people (Anny-ReID)"


def run_wave(jobs: Sequence[Job], processes: int, run_job: Callable[[Job], str] = run_trial) -> None:
    """Run the unfinished trials of `jobs`, `processes` at a time.

    `run_job` runs one trial in a worker process, and returns the trial's name. Each process uses one thread, so that the results do
    not depend on the number of processes. Raises ConfigError if the file of a finished trial belongs to another study.
    """
    remaining = [job for job in jobs if not finished(job)]
    if len(remaining) < len(jobs):
        note(f"{len(jobs) - len(remaining)} of {len(jobs)} trials are finished already")
    if not remaining:
        return
    count = 0

    def kept() -> str:
        finished_count = len(jobs) - len(remaining) + count
        return f"{finished_count} of {len(jobs)} trials are finished and kept; run the same command again to resume"

    with keeping(kept):
        for name in each_apart(run_job, remaining, processes, first=_use_one_thread):
            count += 1
            note(f"trial {name} is finished ({len(jobs) - len(remaining) + count} of {len(jobs)})")


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)
