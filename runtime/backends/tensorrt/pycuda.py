"""The CUDA calls that a TensorRT session needs, made through pycuda. `runtime.backends.tensorrt.cuda` chooses the binding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.tensorrt.gpu import NO_DEVICE_TEXT, NO_TIMING, NON_BLOCKING, Gpu
from runtime.errors import DeviceError, OutOfMemory


class PyCuda:
    """The same methods as `CudaPython`, made through pycuda. It has no CUDA graphs."""

    graphs = False

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._call(driver.init)
        if not self._call(driver.Device.count):
            raise DeviceError(NO_DEVICE_TEXT)
        self._device = self._call(driver.Device, 0)
        # TensorRT uses the primary context too, so that the process has only one context
        self._context = self._call(self._device.retain_primary_context)
        # the stream objects behind the numbers that TensorRT takes
        self._streams: dict[int, Any] = {}

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.MemoryError as error:
            raise OutOfMemory(f"CUDA: {error}; use a smaller batch, or free memory") from None
        except self._driver.Error as error:
            raise DeviceError(
                NO_DEVICE_TEXT
                if "no CUDA-capable" in str(error)
                else f"CUDA: {error}; run: python -m engines doctor"
            ) from None

    def gpu(self) -> Gpu:  # noqa: D102
        major, minor = self._device.compute_capability()
        return Gpu(self._device.name(), f"{major}.{minor}")

    @contextmanager
    def current(self) -> Iterator[None]:  # noqa: D102
        self._call(self._context.push)
        try:
            yield
        finally:
            self._driver.Context.pop()

    def allocate(self, size: int, stack: ExitStack) -> int:  # noqa: D102
        made = self._call(self._driver.mem_alloc, size)
        stack.callback(made.free)
        return int(made)

    def allocate_pinned(self, size: int, stack: ExitStack) -> NDArray[np.uint8]:  # noqa: D102
        array: NDArray[np.uint8] = self._call(self._driver.pagelocked_empty, size, np.uint8)
        stack.callback(array.base.free)  # type: ignore[union-attr]
        return array

    def stream(self, stack: ExitStack) -> int:  # noqa: D102
        made = self._call(self._driver.Stream, NON_BLOCKING)
        self._streams[made.handle] = made
        stack.callback(self._streams.pop, made.handle)
        return int(made.handle)

    def event(self, stack: ExitStack) -> Any:  # noqa: D102
        # pycuda frees an event with its last reference
        return self._call(self._driver.Event, NO_TIMING)

    def record(self, event: Any, stream: int) -> None:  # noqa: D102
        self._call(event.record, self._streams[stream])

    def wait(self, stream: int, event: Any) -> None:  # noqa: D102
        self._call(self._streams[stream].wait_for_event, event)

    def synchronize(self, event: Any) -> None:  # noqa: D102
        self._call(event.synchronize)

    def finish(self, stream: int) -> None:  # noqa: D102
        self._call(self._streams[stream].synchronize)

    def upload(self, pointer: int, array: NDArray[Any], stream: int) -> None:  # noqa: D102
        self._call(self._driver.memcpy_htod_async, pointer, array, self._streams[stream])

    def download(self, array: NDArray[Any], pointer: int, stream: int) -> None:  # noqa: D102
        self._call(self._driver.memcpy_dtoh_async, array, pointer, self._streams[stream])

    def capture(self, stream: int, enqueue: Callable[[], None], stack: ExitStack) -> Any:  # noqa: D102
        raise DeviceError("pycuda has no CUDA graphs; install cuda-bindings to use them")

    def launch(self, graph: Any, stream: int) -> None:  # noqa: D102
        raise DeviceError("pycuda has no CUDA graphs; install cuda-bindings to use them")
