"""The few CUDA calls that a session needs. The only file that imports cuda-python or pycuda."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.library import Library, failure, held_back, is_absent
from runtime.backends.tensorrt.gpu import NO_DEVICE_TEXT, NO_TIMING, NON_BLOCKING, PINNED, Gpu
from runtime.backends.tensorrt.pycuda import PyCuda
from runtime.errors import DeviceError, OutOfMemory

# cudaError_t, the same numbers in every version
OUT_OF_MEMORY, STUB_LIBRARY, OLD_DRIVER, NO_DEVICE = 2, 34, 35, 100
NO_DRIVER = (
    "no NVIDIA driver here (libcuda is missing); install it, or start the container with --runtime nvidia"
)

NO_BINDING = (
    "no CUDA binding for Python here; install the one of this machine's CUDA: pip install cuda-bindings (on JetPack 6: "
    "'cuda-bindings<13')"
)
REINSTALL = "pip install --force-reinstall cuda-bindings (on JetPack 6: 'cuda-bindings<13')"
CUDA_PYTHON = Library("cuda.bindings", "pip install cuda-bindings", REINSTALL)
OLD_CUDA_PYTHON = Library("cuda.cudart", "pip install cuda-bindings", REINSTALL)
PYCUDA = Library("pycuda.driver", "pip install pycuda", "pip install --force-reinstall pycuda")


def open_cuda() -> CudaPython | PyCuda:
    """Open CUDA device 0, through cuda-python or, where only that exists, pycuda.

    Raises DeviceError in one line without a binding, a driver or a device, and for a driver too old for the binding. Call it before
    any TensorRT object is made, because TensorRT's lean libraries crash where CUDA does not start.
    """
    broken: list[str] = []
    bindings = _cuda_python(broken)
    if bindings is not None:
        _probe(bindings)
        return CudaPython(bindings)
    driver = _bound(PYCUDA, _pycuda, broken)
    if driver is not None:
        return PyCuda(driver)
    raise DeviceError(broken[0] if broken else NO_BINDING)


def _cuda_python(broken: list[str]) -> Any:
    """Return the runtime API of cuda-python, under its name since version 12.6 or its older one; None without a usable one."""

    def new() -> Any:
        from cuda.bindings import runtime

        return runtime

    def old() -> Any:
        from cuda import cudart

        return cudart

    return _bound(CUDA_PYTHON, new, broken) or _bound(OLD_CUDA_PYTHON, old, broken)


def _pycuda() -> Any:
    import pycuda.driver as driver

    return driver


def _bound(library: Library, load: Callable[[], Any], broken: list[str]) -> Any:
    """Return what `load` imports, or None. `broken` gets the reason why an installed binding cannot be used."""
    with held_back() as printed:
        try:
            return load()
        # A broken binding may raise any error.
        except Exception as error:
            if is_absent(library, error) or "cannot import name 'cudart'" in str(error):
                return None
            if "libcuda.so" in str(error):
                raise DeviceError(NO_DRIVER) from None
            broken.append(failure(library, error, printed()))
    return None


def _probe(bindings: Any) -> None:
    try:
        error, count = bindings.cudaGetDeviceCount()
        code = int(error)
        _, supported = bindings.cudaDriverGetVersion()
    # when libcuda cannot be loaded, some versions raise an error and others return one
    except (RuntimeError, OSError):
        raise DeviceError(NO_DRIVER) from None
    if code == 0 and count:
        return
    if code in (0, NO_DEVICE):
        raise DeviceError(NO_DEVICE_TEXT)
    if code == OLD_DRIVER and supported:
        _, needed = bindings.cudaRuntimeGetVersion()
        raise DeviceError(
            f"the NVIDIA driver is too old: it knows CUDA up to {_version(supported)}, the installed cuda-bindings "
            f"need {_version(needed)}; update the driver, or pip install 'cuda-bindings<{needed // 1000}'"
        )
    if code in (OLD_DRIVER, STUB_LIBRARY):
        raise DeviceError(NO_DRIVER)
    raise _failure(bindings, "cudaGetDeviceCount", error)


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _failure(bindings: Any, call: str, error: Any) -> DeviceError:
    if int(error) == OUT_OF_MEMORY:
        return OutOfMemory(f"CUDA: out of memory in {call}; use a smaller batch, or free memory")
    _, name = bindings.cudaGetErrorName(error)
    _, text = bindings.cudaGetErrorString(error)
    return DeviceError(
        f"CUDA: {call} failed: {name.decode()}, {text.decode()}; start again, see dmesg for Xid"
    )


class CudaPython:
    """CUDA through cuda-python: memory, streams, events and graphs of device 0.

    Pointers are ints, sizes are in bytes; streams, events and graphs are opaque. Every object is freed by the `stack` that it was made
    on. Raises OutOfMemory where memory runs out, and DeviceError for all other failures.
    """

    graphs = True

    def __init__(self, bindings: Any) -> None:
        self._cuda = bindings

    def _call(self, function: str, *arguments: Any) -> Any:
        error, *values = getattr(self._cuda, function)(*arguments)
        if int(error):
            raise _failure(self._cuda, function, error)
        return values[0] if values else None

    def _make(self, stack: ExitStack, create: str, argument: int, destroy: str) -> Any:
        made = self._call(create, argument)
        stack.callback(self._call, destroy, made)
        return made

    def gpu(self) -> Gpu:
        """Return the name and compute capability of the device."""
        device = self._call("cudaGetDeviceProperties", 0)
        return Gpu(device.name.decode(errors="replace").rstrip("\0"), f"{device.major}.{device.minor}")

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the device current in this thread; every call below happens inside this block."""
        self._call("cudaSetDevice", 0)
        yield

    def allocate(self, size: int, stack: ExitStack) -> int:
        """Return a pointer to `size` bytes on the device."""
        return int(self._make(stack, "cudaMalloc", size, "cudaFree"))

    def allocate_pinned(self, size: int, stack: ExitStack) -> NDArray[np.uint8]:
        """Return (size,) bytes of page-locked host memory; copies from and to it run while the program goes on."""
        pointer = int(self._call("cudaHostAlloc", size, PINNED))
        stack.callback(self._call, "cudaFreeHost", pointer)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))

    def stream(self, stack: ExitStack) -> Any:
        """Return a queue of work that does not wait for the default stream; TensorRT takes int(stream)."""
        return self._make(stack, "cudaStreamCreateWithFlags", NON_BLOCKING, "cudaStreamDestroy")

    def event(self, stack: ExitStack) -> Any:
        """Return an event: a mark in a stream that other work can wait for."""
        return self._make(stack, "cudaEventCreateWithFlags", NO_TIMING, "cudaEventDestroy")

    def record(self, event: Any, stream: Any) -> None:
        """Mark the work given to `stream` so far."""
        self._call("cudaEventRecord", event, stream)

    def wait(self, stream: Any, event: Any) -> None:
        """Let work that is given to `stream` from now on begin after the marked work."""
        self._call("cudaStreamWaitEvent", stream, event, 0)

    def synchronize(self, event: Any) -> None:
        """Return when the marked work is done."""
        self._call("cudaEventSynchronize", event)

    def finish(self, stream: Any) -> None:
        """Return when all work of the stream is done."""
        self._call("cudaStreamSynchronize", stream)

    def upload(self, pointer: int, array: NDArray[Any], stream: Any) -> None:
        """Queue a copy of a contiguous pinned array to the device; the array must not change until it is done."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", pointer, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: NDArray[Any], pointer: int, stream: Any) -> None:
        """Queue a copy from the device into a contiguous pinned array; the array must not be read until it is done."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, pointer, array.nbytes, kind, stream)

    def capture(self, stream: Any, enqueue: Callable[[], None], stack: ExitStack) -> Any:
        """Keep what `enqueue` gives to `stream` as a graph, without running it. The stream is as before, also after an error."""
        # in this mode, work of other threads on the device does not break the capture
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        with ExitStack() as temporary:
            try:
                enqueue()
            finally:
                # the stream must leave capture mode in any case, or nothing runs on it again
                error, graph = self._cuda.cudaStreamEndCapture(stream)
                if int(error):
                    self._cuda.cudaGetLastError()
                elif int(graph):
                    temporary.callback(self._call, "cudaGraphDestroy", graph)
            if int(error):
                raise _failure(self._cuda, "cudaStreamEndCapture", error)
            made = self._call("cudaGraphInstantiateWithFlags", graph, 0)
            stack.callback(self._call, "cudaGraphExecDestroy", made)
            return made

    def launch(self, graph: Any, stream: Any) -> None:
        """Give a captured graph to a stream as one piece of work."""
        self._call("cudaGraphLaunch", graph, stream)
