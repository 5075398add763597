"""`Scheduler`: admit a limited number of requests that need the model, and run the work of all requests in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.service.batching import Batcher
from runtime.service.gallery_service import GalleryService
from runtime.service.metrics import Metrics
from runtime.service.pictures import Crop, Picture, crops_of
from runtime.service.problems import Refused

Result = TypeVar("Result")
# Threads that decode pictures and search, and threads for what needs neither: a queue of searches must not stop the thumbnails.
HEAVY, LIGHT = 2, 2
RETRY_S = 1


class Scheduler:
    """Admits requests, and runs their work in threads. Use it from one event loop."""

    def __init__(self, service: GalleryService) -> None:
        self.service, self._limits = service, service.settings.limits
        self._accepted = self._decoding = 0
        self._heavy = ThreadPoolExecutor(HEAVY, thread_name_prefix="search")
        self._light = ThreadPoolExecutor(LIGHT, thread_name_prefix="rows")
        self.metrics = Metrics(accepted=lambda: self._accepted, rows=lambda: self.service.gallery.count())
        self._batcher = Batcher(
            service.embed,
            most=service.model.batch,
            window_s=self._limits.window_s,
            expected=lambda: self._decoding > 0,
            ran=self.metrics.ran,
        )

    @contextmanager
    def accepted(self) -> Iterator[None]:
        """Accept a request while the block runs. Raises Refused (503) if too many others are accepted already."""
        if self._accepted >= self._limits.queue:
            raise Refused(503, "The service is busy; try again.", {"Retry-After": str(RETRY_S)})
        self._accepted += 1
        try:
            yield
        finally:
            self._accepted -= 1

    async def heavy(self, work: Callable[[], Result]) -> Result:
        """Run `work` in a thread for pictures and searches."""
        return await asyncio.get_running_loop().run_in_executor(self._heavy, work)

    async def light(self, work: Callable[[], Result]) -> Result:
        """Run `work` in a thread for the rest."""
        return await asyncio.get_running_loop().run_in_executor(self._light, work)

    async def crops(self, pictures: Sequence[Picture], *, thumbnails: bool = False) -> list[Crop]:
        """Return the crops of all pictures. Raises Refused for a bad one."""
        spec = self.service.model.artifact.spec
        self._decoding += 1
        try:
            crops_by_picture = [
                await self.heavy(partial(crops_of, picture, spec, thumbnails=thumbnails))
                for picture in pictures
            ]
        finally:
            self._decoding -= 1
        return [crop for crops in crops_by_picture for crop in crops]

    async def features(self, crops: Sequence[Crop], camera: int | None = None) -> NDArray[np.float32]:
        """Return the features (N, D) of crops, all of one camera (None: unknown). They run together with those of other requests."""
        if not crops:
            return np.empty((0, self.service.gallery.space.dim), np.float32)
        cameras = [-1 if camera is None else camera] * len(crops)
        return await asyncio.wrap_future(self._batcher.submit([crop.pixels for crop in crops], cameras))

    async def ready(self) -> bool:
        """Return whether the model still gives the feature that it gave at the start, and the gallery can be read."""
        feature = await asyncio.wrap_future(self._batcher.submit([self.service.pattern], [-1]))
        return await self.light(partial(self.service.ready, feature[0]))

    def close(self) -> None:
        """Finish what was accepted, and end all threads."""
        self._heavy.shutdown()
        self._batcher.close()
        self._light.shutdown()
