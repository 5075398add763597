"""What a search by picture consists of, timed without a server: decode, model and scan."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from runtime.gallery.api import Gallery, open_gallery
from runtime.gallery.lookup.filters import Search
from runtime.images.decode import decode
from runtime.images.preprocess import resize
from runtime.model import Model
from runtime.options.argument_types import camera_policy

NAMES = ("decode", "model", "scan")


class Stages:
    """Does what the server does for a search, in this thread and on the core of the server."""

    def __init__(self, model: Model, gallery: Gallery, pictures: Sequence[bytes], core: int) -> None:
        self._model, self._gallery, self._pictures, self._core = model, gallery, pictures, core
        self._policy = camera_policy(gallery.space.camera)
        self.times: dict[str, list[float]] = {name: [] for name in NAMES}
        self._cpu_s = 0.0

    def run(self, count: int) -> None:
        """Search with `count` pictures, and keep the times of the stages in ms."""
        before, start = os.sched_getaffinity(0), time.process_time()
        os.sched_setaffinity(0, {self._core})
        try:
            for number in range(count):
                self._search(self._pictures[number % len(self._pictures)])
        finally:
            os.sched_setaffinity(0, before)
            self._cpu_s += time.process_time() - start

    def medians(self) -> dict[str, float]:
        """Return the median ms of each stage."""
        return {name: float(np.median(times)) for name, times in self.times.items()}

    def cpu_ms(self) -> float:
        """Return the CPU time of a search."""
        return 1000 * self._cpu_s / len(self.times[NAMES[0]])

    def _search(self, picture: bytes) -> None:
        points = [time.perf_counter()]
        crop = resize(decode(picture).pixels, self._model.artifact.spec)
        points.append(time.perf_counter())
        feature = self._model.embed([crop], color="rgb", camera=self._policy)
        points.append(time.perf_counter())
        self._gallery.find(feature, Search(top=10), [None])
        points.append(time.perf_counter())
        for name, start, end in zip(NAMES, points, points[1:]):
            self.times[name].append(1000 * (end - start))


@contextmanager
def opened_stages(model: Model, store: Path, pictures: Sequence[bytes], core: int) -> Iterator[Stages]:
    """Open the gallery in `store` beside the server while the block runs."""
    with open_gallery(store) as gallery:
        yield Stages(model, gallery, pictures, core)
