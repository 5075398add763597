"""The fake CUDA that the session is tested with rejects every misuse and keeps the order that streams and events promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.fakes.cuda import FakeGpu
from tests.fakes.gpu import Misuse


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return FakeGpu().install(monkeypatch)


class Raw:
    """Memory, a stream and an event of the fake; each misuse below breaks one rule."""

    def __init__(self, gpu: FakeGpu) -> None:
        gpu.cudaSetDevice(0)
        self.gpu = gpu
        self.stream, self.event = gpu.cudaStreamCreateWithFlags(1)[1], gpu.cudaEventCreateWithFlags(2)[1]
        self.device, self.host = gpu.cudaMalloc(64)[1], gpu.cudaHostAlloc(64, 0)[1]
        self.mode = gpu.cudaStreamCaptureMode

    def copy(self, *, to: int = 0, source: int = 0, size: int = 64, up: bool = True) -> None:
        kind = self.gpu.cudaMemcpyKind
        way = kind.cudaMemcpyHostToDevice if up else kind.cudaMemcpyDeviceToHost
        ends = (self.device, self.host) if up else (self.host, self.device)
        self.gpu.cudaMemcpyAsync(to or ends[0], source or ends[1], size, way, self.stream)

    def capture(self) -> None:
        self.gpu.cudaStreamBeginCapture(self.stream, self.mode.cudaStreamCaptureModeThreadLocal)


def changed_source(raw: Raw) -> None:
    raw.copy()
    raw.gpu.pinned[raw.host][3] = 1
    raw.gpu.cudaStreamSynchronize(raw.stream)


def freed_under_way(raw: Raw, free: str, pointer: str) -> None:
    raw.copy()
    getattr(raw.gpu, free)(getattr(raw, pointer))


def freed_twice(raw: Raw) -> None:
    raw.gpu.cudaFree(raw.device)
    raw.gpu.cudaFree(raw.device)


def copied_after_free(raw: Raw) -> None:
    raw.gpu.cudaFree(raw.device)
    raw.copy()


def stream_destroyed(raw: Raw) -> None:
    raw.copy()
    raw.gpu.cudaStreamDestroy(raw.stream)


def in_capture(raw: Raw, call: str, *arguments: Any) -> None:
    raw.capture()
    getattr(raw.gpu, call)(*(arguments or (raw.stream,)))


def event_destroyed(raw: Raw) -> None:
    raw.gpu.cudaEventDestroy(raw.event)
    raw.gpu.cudaEventRecord(raw.event, raw.stream)


MISUSES: list[tuple[Callable[[Raw], Any], str]] = [
    (lambda raw: raw.copy(size=65), "beyond their allocation"),
    (lambda raw: raw.copy(source=raw.host + 1), "beyond their allocation"),
    (lambda raw: raw.copy(up=False, size=65), "beyond their allocation"),
    (lambda raw: raw.copy(to=raw.host, source=raw.device), "device memory .* in no allocation"),
    (lambda raw: raw.copy(source=np.zeros(64, np.uint8).ctypes.data), "pinned memory .* in no allocation"),
    (copied_after_free, "in no allocation"),
    (changed_source, "changed while its copy was pending"),
    (lambda raw: freed_under_way(raw, "cudaFree", "device"), "while work on it is pending"),
    (lambda raw: freed_under_way(raw, "cudaFreeHost", "host"), "while work on it is pending"),
    (freed_twice, "freed before"),
    (stream_destroyed, "while its work is pending"),
    (lambda raw: raw.gpu.cudaStreamWaitEvent(raw.stream, raw.event, 0), "never recorded"),
    (lambda raw: raw.gpu.cudaEventSynchronize(raw.event), "never recorded"),
    (event_destroyed, "does not exist"),
    (lambda raw: raw.gpu.cudaStreamSynchronize(12345), "does not exist"),
    (lambda raw: in_capture(raw, "cudaStreamSynchronize"), "during its capture"),
    (lambda raw: in_capture(raw, "cudaMalloc", 8), "during a capture"),
    (
        lambda raw: raw.gpu.cudaStreamBeginCapture(raw.stream, raw.mode.cudaStreamCaptureModeGlobal),
        "can spoil",
    ),
    (lambda raw: raw.gpu.cudaStreamEndCapture(raw.stream), "not being captured"),
    (lambda raw: raw.gpu.cudaGraphLaunch(99, raw.stream), "graph does not exist"),
    (lambda raw: (raw.gpu.threads.clear(), raw.copy()), "never called cudaSetDevice"),
]


@pytest.mark.parametrize(("misuse", "reason"), MISUSES)
def test_the_fake_rejects_a_misuse(gpu: FakeGpu, misuse: Callable[[Raw], Any], reason: str) -> None:
    raw = Raw(gpu)
    with pytest.raises(Misuse, match=reason):
        misuse(raw)


def test_the_fake_tells_what_was_not_given_back(gpu: FakeGpu) -> None:
    Raw(gpu)
    assert gpu.leaks() == ["1 device memory", "1 pinned memory", "1 streams", "1 events"]


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_fake_keeps_the_order_of_a_stream_and_of_events(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    gpu = FakeGpu(seed=seed).install(monkeypatch)
    raw = Raw(gpu)
    other, order = gpu.cudaStreamCreateWithFlags(1)[1], []
    for number in range(6):
        raw.copy()
        gpu.streams[int(raw.stream)].queue[-1].run = lambda number=number: order.append(number)
    gpu.cudaEventRecord(raw.event, raw.stream)
    gpu.cudaStreamWaitEvent(other, raw.event, 0)
    gpu.cudaStreamSynchronize(other)
    assert order == sorted(order) and gpu.pending() == []
