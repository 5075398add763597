"""The CUDA calls that a TensorRT session needs. No other module imports cuda-python or pycuda."""

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

# values of cudaError_t, which are the same in every version of CUDA
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
    """Open CUDA device 0 through cuda-python or, if that is not usable, through pycuda.

    Raises DeviceError if there is no Python binding, driver or device, or if the driver is too old for the binding. Call this before
    any TensorRT object is created: if CUDA does not start, TensorRT's lean libraries crash the process.
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
    """Return the runtime API module of cuda-python, by its new name (since 12.6) or its old name; None if neither is usable."""

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
    """Return the module that `load` imports, or None. If the binding is installed but broken, the reason is appended to `broken`."""
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
        f"CUDA: {call} failed: {name.decode()}, {text.decode()}; run the command again; if it fails again, look for Xid in dmesg"
    )


class CudaPython:
    """Memory, streams, events and graphs of CUDA device 0, through cuda-python.

    Pointers are ints and sizes are in bytes. The types of streams, events and graphs depend on the binding: use these objects only as
    arguments of the methods of this class, and give TensorRT int(stream). A method with a parameter `stack` creates an object, which
    is freed when the stack is closed. Raises OutOfMemory if the memory does not suffice, and DeviceError for every other failure.
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
        """While the block runs, make the device current in this thread. The other methods must be called inside such a block."""
        self._call("cudaSetDevice", 0)
        yield

    def allocate(self, size: int, stack: ExitStack) -> int:
        """Return a pointer to `size` bytes on the device."""
        return int(self._make(stack, "cudaMalloc", size, "cudaFree"))

    def allocate_pinned(self, size: int, stack: ExitStack) -> NDArray[np.uint8]:
        """Return `size` bytes of page-locked host memory, (size,) uint8; only copies to and from such memory are asynchronous."""
        pointer = int(self._call("cudaHostAlloc", size, PINNED))
        stack.callback(self._call, "cudaFreeHost", pointer)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))

    def stream(self, stack: ExitStack) -> Any:
        """Return a new stream, which does not wait for the default stream. TensorRT takes it as int(stream)."""
        return self._make(stack, "cudaStreamCreateWithFlags", NON_BLOCKING, "cudaStreamDestroy")

    def event(self, stack: ExitStack) -> Any:
        """Return a new event, for `record`, `wait` and `synchronize`."""
        return self._make(stack, "cudaEventCreateWithFlags", NO_TIMING, "cudaEventDestroy")

    def record(self, event: Any, stream: Any) -> None:
        """Let `event` stand for all work that was queued in `stream` so far."""
        self._call("cudaEventRecord", event, stream)

    def wait(self, stream: Any, event: Any) -> None:
        """Let work that is queued in `stream` from now on begin only after the work for which `event` stands."""
        self._call("cudaStreamWaitEvent", stream, event, 0)

    def synchronize(self, event: Any) -> None:
        """Wait until the work for which `event` stands is done."""
        self._call("cudaEventSynchronize", event)

    def finish(self, stream: Any) -> None:
        """Wait until all work in `stream` is done."""
        self._call("cudaStreamSynchronize", stream)

    def upload(self, pointer: int, array: NDArray[Any], stream: Any) -> None:
        """Queue in `stream` a copy of a contiguous pinned array to the device. The array must not change before the copy is done."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", pointer, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: NDArray[Any], pointer: int, stream: Any) -> None:
        """Queue in `stream` a copy from the device into a contiguous pinned array. The array is valid when the copy is done."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, pointer, array.nbytes, kind, stream)

    def capture(self, stream: Any, enqueue: Callable[[], None], stack: ExitStack) -> Any:
        """Return the work that `enqueue` queues in `stream` as a CUDA graph, without running it.

        The stream stays usable, also after an error.
        """
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
        """Queue a captured graph in `stream`."""
        self._call("cudaGraphLaunch", graph, stream)
