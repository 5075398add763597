"""Without a driver or a device CUDA is refused in one line; and what is made is given back."""

from __future__ import annotations

import inspect
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtime.backends.tensorrt import cuda as module
from runtime.backends.tensorrt.cuda import open_cuda
from runtime.backends.tensorrt.gpu import Gpu
from runtime.backends.tensorrt.pycuda import PyCuda
from runtime.errors import DeviceError, OutOfMemory
from tests.fakes.cuda import FakeGpu

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return FakeGpu().install(monkeypatch)


# what is here


def test_the_real_binding_without_a_driver_is_one_line() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings")
    if int(runtime.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("here is a GPU")
    with pytest.raises(DeviceError) as raised:
        open_cuda()
    text = str(raised.value)
    assert raised.value.code == 5 and "\n" not in text and re.search("driver", text)


@pytest.mark.parametrize(
    ("error", "devices", "driver", "reason"),
    [
        (35, 0, 0, "no NVIDIA driver here"),
        (35, 0, 12020, "knows CUDA up to 12.2, the installed cuda-bindings need 13.5.*cuda-bindings<13"),
        (34, 0, 0, "no NVIDIA driver here"),
        (100, 0, 13000, "a.* driver but no CUDA device.*CUDA_VISIBLE_DEVICES"),
        (0, 0, 13000, "no CUDA device"),
        (700, 0, 13000, "cudaErrorIllegalAddress"),
    ],
)
def test_each_way_to_have_no_device_is_told_apart_on_a_fake(
    monkeypatch: pytest.MonkeyPatch, error: int, devices: int, driver: int, reason: str
) -> None:
    gpu = FakeGpu(devices=devices, driver=driver).install(monkeypatch)
    gpu.failures["cudaGetDeviceCount", 0] = error
    with pytest.raises(DeviceError, match=reason) as raised:
        open_cuda()
    assert raised.value.code == 5 and "\n" not in str(raised.value)


def test_a_fake_binding_that_raises_without_a_driver_is_understood(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    monkeypatch.setattr(gpu, "cudaGetDeviceCount", missing)
    with pytest.raises(DeviceError, match="libcuda is missing"):
        open_cuda()


def test_the_older_place_of_the_binding_is_found_on_a_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu()
    package = ModuleType("cuda")
    package.cudart = gpu  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda", package)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    cuda = open_cuda()
    with cuda.current():
        assert cuda.gpu() == Gpu("Fake GPU", "8.6")


def without_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda", "cuda.bindings", "pycuda", "pycuda.driver"):
        monkeypatch.setitem(sys.modules, name, None)


def test_no_binding_at_all_names_the_one_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without_bindings(monkeypatch)
    with pytest.raises(DeviceError, match="pip install cuda-bindings"):
        open_cuda()


def test_every_call_of_the_file_exists_in_the_real_binding_and_takes_what_the_fake_takes() -> None:
    real = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings")
    named = set(re.findall(r"\bcuda[A-Z]\w+", Path(module.__file__).read_text()))
    calls = {
        name
        for name in named
        if callable(getattr(FakeGpu, name, None)) and not isinstance(getattr(FakeGpu, name), type)
    }
    assert len(calls) > 20
    for name in sorted(calls):
        described = re.match(r"\w+\((.*?)\)\n", getattr(real, name).__doc__)
        assert described, name
        arguments = [part for part in described[1].split(",") if part.strip()]
        ours = [
            argument
            for argument in inspect.signature(getattr(FakeGpu, name)).parameters
            if argument != "self"
        ]
        assert len(arguments) == len(ours), (name, described[1])
    for group in ("cudaMemcpyKind", "cudaStreamCaptureMode"):
        for member in getattr(FakeGpu, group):
            assert hasattr(getattr(real, group), member.name)
    # the numbers that the file knows by heart
    errors = real.cudaError_t
    assert int(errors.cudaErrorMemoryAllocation) == module.OUT_OF_MEMORY
    assert int(errors.cudaErrorInsufficientDriver) == module.OLD_DRIVER
    assert int(errors.cudaErrorStubLibrary) == module.STUB_LIBRARY
    assert int(errors.cudaErrorNoDevice) == module.NO_DEVICE
    assert (real.cudaStreamNonBlocking, real.cudaEventDisableTiming) == (
        module.NON_BLOCKING,
        module.NO_TIMING,
    )
    assert real.cudaHostAllocDefault == module.PINNED and int(real.cudaGraph_t()) == 0


# the verbs


def test_bytes_survive_the_way_to_a_fake_device_and_back(gpu: FakeGpu) -> None:
    cuda = open_cuda()
    with cuda.current(), ExitStack() as stack:
        stream, event = cuda.stream(stack), cuda.event(stack)
        there, back = (cuda.allocate_pinned(64, stack) for _ in range(2))
        pointer = cuda.allocate(64, stack)
        there[:] = np.arange(64)
        cuda.upload(pointer, there, stream)
        cuda.download(back[:48], pointer, stream)
        cuda.record(event, stream)
        assert (back[:48] == 0xFF).all()
        cuda.synchronize(event)
        np.testing.assert_array_equal(back[:48], there[:48])
    assert gpu.leaks() == []


def test_a_capture_on_a_fake_runs_only_when_launched(gpu: FakeGpu) -> None:
    cuda = open_cuda()
    with cuda.current(), ExitStack() as stack:
        stream = cuda.stream(stack)
        host, pointer = cuda.allocate_pinned(8, stack), cuda.allocate(8, stack)
        host[:] = 7
        graph = cuda.capture(stream, lambda: cuda.upload(pointer, host, stream), stack)
        cuda.finish(stream)
        assert (gpu.device[pointer] == 0xFF).all()
        cuda.launch(graph, stream)
        cuda.finish(stream)
        assert (gpu.device[pointer] == 7).all()
    assert gpu.leaks() == []


def test_a_capture_that_fails_on_a_fake_leaves_the_stream_usable(gpu: FakeGpu) -> None:
    def fail() -> None:
        raise DeviceError("planted")

    cuda = open_cuda()
    with cuda.current(), ExitStack() as stack:
        stream = cuda.stream(stack)
        with pytest.raises(DeviceError, match="planted"):
            cuda.capture(stream, fail, stack)
        cuda.finish(stream)
    assert gpu.leaks() == []


def test_out_of_memory_of_a_fake_is_its_own_error_and_loses_nothing(gpu: FakeGpu) -> None:
    cuda = open_cuda()
    gpu.failures["cudaMalloc", 3] = 2
    with cuda.current(), pytest.raises(OutOfMemory, match="smaller batch"), ExitStack() as stack:
        for _ in range(3):
            cuda.allocate(10, stack)
    assert gpu.leaks() == []


# pycuda


class FakePyCuda:
    """As much of pycuda.driver as is used, computing at once; `log` is what happened."""

    class Error(Exception): ...

    class MemoryError(Error): ...  # noqa: A001

    def __init__(self, devices: int = 1) -> None:
        self.log: list[str] = []
        self.init = lambda: self.log.append("init")
        context = SimpleNamespace(push=lambda: self.log.append("push"))
        self.Context = SimpleNamespace(pop=lambda: self.log.append("pop"))
        device = SimpleNamespace(
            name=lambda: "Old GPU", compute_capability=lambda: (7, 2), retain_primary_context=lambda: context
        )
        self.Device = type("Device", (), {"__new__": lambda cls, number: device, "count": lambda: devices})
        self.memory: dict[int, np.ndarray] = {}

    def mem_alloc(self, size: int) -> Any:
        if size > 1000:
            raise self.MemoryError("cuMemAlloc failed: out of memory")
        self.memory[4096] = np.zeros(size, np.uint8)
        return type(
            "DeviceAllocation",
            (),
            {"__int__": lambda allocation: 4096, "free": lambda allocation: self.memory.clear()},
        )()

    def Stream(self, flags: int) -> Any:
        return SimpleNamespace(
            handle=77, synchronize=lambda: self.log.append("finish"), wait_for_event=lambda event: None
        )

    def Event(self, flags: int) -> Any:
        return SimpleNamespace(
            record=lambda stream: self.log.append(f"record {stream.handle}"), synchronize=lambda: None
        )

    def memcpy_htod_async(self, pointer: int, array: np.ndarray, stream: Any) -> None:
        self.memory[pointer][: array.size] = array

    def memcpy_dtoh_async(self, array: np.ndarray, pointer: int, stream: Any) -> None:
        array[:] = self.memory[pointer][: array.size]

    def pagelocked_empty(self, size: int, kind: Any) -> np.ndarray:
        class Locked(np.ndarray):
            def free(one) -> None:  # noqa: N805
                self.log.append("free pinned")

        return np.zeros(size, kind).view(Locked)[:]


def test_a_fake_pycuda_serves_where_only_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakePyCuda()
    without_bindings(monkeypatch)
    package = ModuleType("pycuda")
    package.driver = driver  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    cuda = open_cuda()
    assert isinstance(cuda, PyCuda) and not cuda.graphs and cuda.gpu() == Gpu("Old GPU", "7.2")
    with cuda.current(), ExitStack() as stack:
        stream, event = cuda.stream(stack), cuda.event(stack)
        there, back = (cuda.allocate_pinned(8, stack) for _ in range(2))
        pointer = cuda.allocate(8, stack)
        there[:] = 5
        cuda.upload(pointer, there, stream)
        cuda.wait(stream, event)
        cuda.download(back, pointer, stream)
        cuda.record(event, stream)
        cuda.synchronize(event)
        cuda.finish(stream)
        assert (back == 5).all() and int(stream) == 77
        with pytest.raises(OutOfMemory, match="smaller batch"):
            cuda.allocate(2000, stack)
        with pytest.raises(DeviceError, match="no CUDA graphs"):
            cuda.capture(stream, lambda: None, stack)
    assert driver.log == ["init", "push", "record 77", "finish", "free pinned", "free pinned", "pop"]
    assert driver.memory == {}


def test_a_fake_pycuda_without_a_device_is_one_line() -> None:
    with pytest.raises(DeviceError, match="no CUDA device"):
        PyCuda(FakePyCuda(devices=0))
