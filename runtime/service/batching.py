"""Run the crops of concurrent requests through the model together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

Crops = Sequence[NDArray[np.uint8]]
Embed = Callable[[Crops, Sequence[int]], NDArray[np.float32]]


@dataclass(frozen=True)
class Job:
    """The crops of one request, the camera of each (-1: unknown), and where their features (N, D) go."""

    crops: Crops
    cameras: Sequence[int]
    result: Future[NDArray[np.float32]] = field(default_factory=Future)


class Batcher:
    """A thread that calls `embed` with the crops of all requests that wait, up to `most` crops at a time.

    When the thread is free, it waits up to `window_s` for more crops as long as `expected()` is true, which says that other requests
    are about to bring some. `ran` is called with the number of crops of each call of `embed`.
    """

    def __init__(
        self,
        embed: Embed,
        *,
        most: int,
        window_s: float = 0.0,
        expected: Callable[[], bool] = lambda: False,
        ran: Callable[[int], None] = lambda crops: None,
    ) -> None:
        self._embed, self._most, self._window_s = embed, most, window_s
        self._expected, self._ran = expected, ran
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def submit(self, crops: Crops, cameras: Sequence[int]) -> Future[NDArray[np.float32]]:
        """Return the future features (N, D) of `crops`, whose cameras are 0-based numbers (-1: unknown)."""
        job = Job(crops, cameras)
        self._jobs.put(job)
        return job.result

    def close(self) -> None:
        """Finish the jobs that were submitted, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs, ended = self._gather(first)
            # a job whose request was given up takes no result any more
            self._run([job for job in jobs if job.result.set_running_or_notify_cancel()])
            if ended:
                return

    def _gather(self, first: Job) -> tuple[list[Job], bool]:
        """Return the jobs to run together, and whether the thread should end after them."""
        jobs, crops = [first], len(first.crops)
        end = time.monotonic() + self._window_s
        while crops < self._most:
            left = end - time.monotonic()
            try:
                if left > 0 and self._expected():
                    job = self._jobs.get(timeout=left)
                else:
                    job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
            crops += len(job.crops)
        return jobs, False

    def _run(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        crops = [crop for job in jobs for crop in job.crops]
        cameras = [camera for job in jobs for camera in job.cameras]
        try:
            features = self._embed(crops, cameras)
        except Exception as error:
            # a picture that fails must not fail those of other requests
            if len(jobs) > 1:
                for job in jobs:
                    self._run([job])
            else:
                jobs[0].result.set_exception(error)
            return
        self._ran(len(crops))
        at = 0
        for job in jobs:
            job.result.set_result(features[at : at + len(job.crops)])
            at += len(job.crops)
