"""A strict fake of the runtime API of cuda-python on a fake GPU: a call that the real library forbids raises Misuse."""

from __future__ import annotations

import enum
import functools
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.fakes.gpu import Misuse, PretendedGpu, Stream, Work

NAMES = {
    0: "cudaSuccess",
    2: "cudaErrorMemoryAllocation",
    35: "cudaErrorInsufficientDriver",
    100: "cudaErrorNoDevice",
}
NAMES |= {700: "cudaErrorIllegalAddress", 900: "cudaErrorStreamCaptureUnsupported"}
ILLEGAL = 700


class MemcpyKind(enum.Enum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class CaptureMode(enum.Enum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1


class Handle:
    """A stream, event or graph as the real bindings return it: an object that is no int, but that int() converts to one."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __int__(self) -> int:
        return self.number


def api(method: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """Turn a method into a call of the library, which lets the fake GPU work, may fail, and returns (error, values...)."""

    @functools.wraps(method)
    def call(self: FakeGpu, *arguments: Any) -> tuple[Any, ...]:
        name = method.__name__
        self.calls[name] += 1
        if name not in FREE_OF_CONTEXT and threading.get_ident() not in self.threads:
            raise Misuse(f"{name} in a thread that never called cudaSetDevice")
        self.jitter()
        code = self.failures.get((name, self.calls[name]), self.failures.get((name, 0), 0))
        if code == ILLEGAL:
            self.dead = True
        if code:
            if name == "cudaStreamEndCapture":
                # A failed call also ends the capture.
                self.stream(arguments[0]).captured = None
            return (code, None) if name in GIVES else (code,)
        value = method(self, *arguments)
        # A device that is lost still frees what it is told to free, but it returns an error.
        code = ILLEGAL if self.dead else 0
        return (code, value) if name in GIVES else (code,)

    return call


FREE_OF_CONTEXT = {"cudaSetDevice", "cudaGetDeviceCount", "cudaGetLastError"}
GIVES = {
    "cudaGetDeviceCount",
    "cudaGetDeviceProperties",
    "cudaMalloc",
    "cudaHostAlloc",
    "cudaStreamEndCapture",
}
GIVES |= {"cudaStreamCreateWithFlags", "cudaEventCreateWithFlags", "cudaGraphInstantiateWithFlags"}


class FakeGpu(PretendedGpu):
    """A fake GPU with the functions of the module `cuda.bindings.runtime`."""

    cudaMemcpyKind = MemcpyKind
    cudaStreamCaptureMode = CaptureMode

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
        """Make `from cuda.bindings import runtime` import this object."""
        monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
        monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=self))
        return self

    @api
    def cudaGetDeviceCount(self) -> int:
        self.probed = True
        return self.devices

    def cudaDriverGetVersion(self) -> tuple[int, int]:
        return 0, self.driver

    def cudaRuntimeGetVersion(self) -> tuple[int, int]:
        return 0, 13050

    def cudaGetErrorName(self, error: int) -> tuple[int, bytes]:
        return 0, NAMES[error].encode()

    cudaGetErrorString = cudaGetErrorName

    @api
    def cudaGetLastError(self) -> None: ...

    @api
    def cudaGetDeviceProperties(self, device: int) -> Any:
        return SimpleNamespace(name=b"Fake GPU", major=8, minor=6)

    @api
    def cudaSetDevice(self, device: int) -> None:
        self.threads.add(threading.get_ident())

    def fresh(self, size: int) -> np.ndarray:
        if self.capturing():
            raise Misuse("memory is allocated during a capture")
        return np.full(size, 0xFF, np.uint8)

    @api
    def cudaMalloc(self, size: int) -> int:
        pointer = (next(self.numbers) << 32) + 256
        self.device[pointer] = self.fresh(size)
        return pointer

    @api
    def cudaFree(self, pointer: int) -> None:
        self.give_back(self.device, pointer, "device memory")

    @api
    def cudaHostAlloc(self, size: int, flags: int) -> int:
        data = self.fresh(size)
        self.pinned[data.ctypes.data] = data
        return int(data.ctypes.data)

    @api
    def cudaFreeHost(self, pointer: int) -> None:
        self.give_back(self.pinned, pointer, "pinned memory")

    @api
    def cudaStreamCreateWithFlags(self, flags: int) -> Handle:
        number = next(self.numbers)
        self.streams[number] = Stream()
        return Handle(number)

    @api
    def cudaStreamDestroy(self, stream: Any) -> None:
        if self.stream(stream).queue:
            raise Misuse("a stream is destroyed while its work is pending")
        del self.streams[int(stream)]

    @api
    def cudaStreamSynchronize(self, number: Any) -> None:
        stream = self.stream(number)
        if stream.captured is not None:
            raise Misuse("a stream is synchronised during its capture")
        if stream.queue:
            self.complete(stream, stream.queue[-1])

    @api
    def cudaEventCreateWithFlags(self, flags: int) -> Handle:
        number = next(self.numbers)
        self.events[number] = None
        return Handle(number)

    @api
    def cudaEventDestroy(self, event: Any) -> None:
        self.give_back(self.events, int(event), "event")

    def mark(self, event: Any) -> Work:
        if int(event) not in self.events:
            raise Misuse("the event does not exist")
        mark = self.events[int(event)]
        if mark is None:
            raise Misuse("the event was never recorded")
        return mark

    @api
    def cudaEventRecord(self, event: Any, stream: Any) -> None:
        if int(event) not in self.events:
            raise Misuse("the event does not exist")
        self.events[int(event)] = mark = Work()
        self.enqueue(stream, mark)

    @api
    def cudaStreamWaitEvent(self, stream: Any, event: Any, flags: int) -> None:
        self.enqueue(stream, Work(before=self.mark(event)))

    @api
    def cudaEventSynchronize(self, event: Any) -> None:
        mark = self.mark(event)
        if not mark.done:
            self.complete(next(s for s in self.streams.values() if mark in s.queue), mark)

    @api
    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: MemcpyKind, stream: Any) -> None:
        upload = kind is MemcpyKind.cudaMemcpyHostToDevice
        places = (self.device, self.pinned) if upload else (self.pinned, self.device)
        names = ("device memory", "pinned memory") if upload else ("pinned memory", "device memory")
        base_to, target = self.block(places[0], to, size, names[0])
        base_from, data = self.block(places[1], source, size, names[1])
        before = data.copy() if upload else None
        if not upload:
            # A program that reads the memory before the copy is complete gets random bytes.
            target[:] = 0xFF

        def run() -> None:
            if before is not None and not np.array_equal(before, data):
                raise Misuse("pinned memory was changed while its copy was pending")
            target[:] = data

        self.enqueue(stream, Work(run, (base_to, base_from)))

    @api
    def cudaStreamBeginCapture(self, stream: Any, mode: CaptureMode) -> None:
        if mode is not CaptureMode.cudaStreamCaptureModeThreadLocal:
            raise Misuse("a capture that other threads can spoil")
        self.stream(stream).captured = []

    @api
    def cudaStreamEndCapture(self, number: Any) -> Handle:
        stream, handle = self.stream(number), Handle(next(self.numbers))
        if stream.captured is None:
            raise Misuse("the stream is not being captured")
        self.graphs[int(handle)], stream.captured = stream.captured, None
        return handle

    @api
    def cudaGraphInstantiateWithFlags(self, graph: Any, flags: int) -> Handle:
        handle = Handle(next(self.numbers))
        self.executables[int(handle)] = self.graphs[int(graph)]
        return handle

    @api
    def cudaGraphDestroy(self, graph: Any) -> None:
        self.give_back(self.graphs, int(graph), "graph")

    @api
    def cudaGraphLaunch(self, graph: Any, stream: Any) -> None:
        if int(graph) not in self.executables:
            raise Misuse("the graph does not exist")
        for work in self.executables[int(graph)]:
            if work.context is not None and work.context not in self.objects:
                raise Misuse("a graph outlived the context it was captured from")
            self.enqueue(stream, Work(work.run, (*work.touches, int(graph)), work.context))

    @api
    def cudaGraphExecDestroy(self, graph: Any) -> None:
        self.give_back(self.executables, int(graph), "executable graph")
