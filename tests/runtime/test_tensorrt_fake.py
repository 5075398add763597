"""The fake TensorRT that the session is tested with rejects every misuse and has no call that the real library lacks."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.fakes import tensorrt as fake
from tests.fakes.cuda import FakeGpu
from tests.fakes.gpu import Misuse
from tests.fakes.tensorrt import DIM, HEIGHT, WIDTH, FakeTensorRt, ILogger, Strategy, model, plan

IMAGES = np.zeros((5, HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    return FakeTensorRt(FakeGpu().install(monkeypatch)).install(monkeypatch)


class Raw:
    """A context of the fake, set up by hand as a correct program would: each test below breaks one thing."""

    def __init__(self, trt: FakeTensorRt, content: bytes) -> None:
        self.gpu, self.trt = trt.gpu, trt
        self.gpu.cudaGetDeviceCount()
        self.gpu.cudaSetDevice(0)
        self.logger = ILogger()
        self.logger.log = lambda severity, text: None
        self.engine = trt.Runtime(self.logger).deserialize_cuda_engine(content)
        self.context = self.engine.create_execution_context(Strategy.USER_MANAGED)
        self.stream = int(self.gpu.cudaStreamCreateWithFlags(1)[1])
        self.memory = {name: self.gpu.cudaMalloc(4096)[1] for name in ("images", "features", "scratch")}
        self.context.set_device_memory(self.memory["scratch"], 4096)
        self.shape()
        for name in ("images", "features"):
            self.context.set_tensor_address(name, self.memory[name])

    def shape(self, batch: int = 2, *rest: int) -> bool:
        return self.context.set_input_shape("images", (batch, *(rest or (HEIGHT, WIDTH, 3))))

    def run(self) -> bool:
        return self.context.execute_async_v3(self.stream)


def no_address(raw: Raw) -> None:
    raw.context._addresses.pop("features")
    raw.run()


def no_shape(raw: Raw) -> None:
    raw.context.set_optimization_profile_async(0, raw.stream)
    raw.run()


def freed(raw: Raw) -> None:
    raw.gpu.cudaFree(raw.memory["images"])
    raw.run()


def unregistered(raw: Raw) -> None:
    raw.context.set_tensor_address("images", 12345)
    raw.run()


def no_number(raw: Raw) -> None:
    raw.context.set_tensor_address("images", raw.gpu.cudaMalloc(8))


def too_small(raw: Raw) -> None:
    raw.context.set_tensor_address("images", raw.gpu.cudaMalloc(2 * HEIGHT * WIDTH * 3 - 1)[1])
    raw.run()


def other_tensor(raw: Raw) -> None:
    raw.context.set_tensor_address("image", raw.memory["images"])


def shape_of_output(raw: Raw) -> None:
    raw.context.set_input_shape("features", (2, DIM))


def no_stream(raw: Raw) -> None:
    raw.gpu.cudaStreamDestroy(raw.stream)
    raw.run()


def no_scratch(raw: Raw) -> None:
    raw.context._memory = None
    raw.run()


def little_scratch(raw: Raw) -> None:
    raw.context.set_device_memory(raw.memory["scratch"], 4095)


def freed_scratch(raw: Raw) -> None:
    raw.gpu.cudaFree(raw.memory["scratch"])
    raw.run()


def freed_while_running(raw: Raw) -> None:
    raw.run()
    raw.gpu.cudaFree(raw.memory["features"])


def early_capture(raw: Raw) -> None:
    raw.gpu.cudaStreamBeginCapture(raw.stream, raw.gpu.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
    raw.run()


def captured(raw: Raw) -> None:
    raw.run()
    early_capture(raw)
    raw.gpu.cudaStreamEndCapture(raw.stream)


def changed_after_capture(raw: Raw) -> None:
    captured(raw)
    raw.shape(1)


def graph_without_context(raw: Raw) -> None:
    raw.run()
    early_capture(raw)
    graph = raw.gpu.cudaGraphInstantiateWithFlags(raw.gpu.cudaStreamEndCapture(raw.stream)[1], 0)[1]
    raw.gpu.cudaStreamSynchronize(raw.stream)
    raw.context = None
    raw.gpu.cudaGraphLaunch(graph, raw.stream)


def memory_of_its_own(raw: Raw) -> None:
    raw.engine.create_execution_context(Strategy.STATIC)


def logger_without_base(raw: Raw) -> None:
    raw.trt.Runtime(SimpleNamespace(log=print))


def not_probed(raw: Raw) -> None:
    raw.gpu.probed = False
    raw.trt.Runtime(raw.logger)


MISUSES: list[tuple[Callable[[Raw], Any], str]] = [
    (no_address, "address of features"),
    (no_shape, "shape of \\['images'\\]"),
    (freed, "in no allocation"),
    (unregistered, "in no allocation"),
    (no_number, "no address"),
    (too_small, "beyond their allocation"),
    (other_tensor, "no tensor"),
    (shape_of_output, "no input"),
    (lambda raw: raw.shape(2, HEIGHT, WIDTH, 4), "does not have the shape"),
    (no_stream, "does not exist"),
    (lambda raw: raw.context.execute_async_v3(raw.gpu.cudaStreamCreateWithFlags(1)[1]), "number of a stream"),
    (lambda raw: raw.context.set_optimization_profile_async(0, 99), "no such stream"),
    (no_scratch, "before the context has scratch"),
    (little_scratch, "too little scratch"),
    (freed_scratch, "in no allocation"),
    (freed_while_running, "while work on it is pending"),
    (early_capture, "before the first run"),
    (changed_after_capture, "after a graph was captured"),
    (graph_without_context, "outlived the context"),
    (memory_of_its_own, "memory of its own"),
    (logger_without_base, "base class"),
    (not_probed, "before CUDA was probed"),
    (lambda raw: raw.engine.get_tensor_profile_shape("features", 0), "only dynamic inputs"),
    (lambda raw: model(IMAGES, np.array([-1] * 5)), "beyond the embedding table"),
]


@pytest.mark.parametrize(("misuse", "reason"), MISUSES)
def test_the_fake_rejects_a_misuse(trt: FakeTensorRt, misuse: Callable[[Raw], Any], reason: str) -> None:
    raw = Raw(trt, plan([(1, 2, 4)]))
    with pytest.raises(Misuse, match=reason):
        misuse(raw)


def test_the_fake_lets_the_correct_order_pass_and_computes_late(trt: FakeTensorRt) -> None:
    raw = Raw(trt, plan([(1, 2, 4)]))
    assert raw.run()
    features = raw.gpu.device[raw.memory["features"]]
    assert (features == 0xFF).all()
    captured(raw)
    raw.gpu.cudaStreamSynchronize(raw.stream)
    assert (features != 0xFF).any()


def test_the_fake_says_no_where_the_real_library_does(trt: FakeTensorRt) -> None:
    raw = Raw(trt, plan([(1, 2, 4)]))
    assert raw.shape(5) is False
    assert raw.context.set_optimization_profile_async(1, raw.stream) is False
    assert raw.trt.Runtime(raw.logger).deserialize_cuda_engine(b"") is None


def test_the_fake_notices_a_context_that_is_destroyed_while_it_computes(trt: FakeTensorRt) -> None:
    raw = Raw(trt, plan([(1, 2, 4)]))
    raw.run()
    raw.context = None
    assert "a context was destroyed while it computes" in raw.gpu.leaks()


def test_the_fake_has_no_call_that_the_real_rtx_library_lacks() -> None:
    real = pytest.importorskip("tensorrt_rtx", reason="needs the TensorRT-RTX wheel")
    # what only 8.6 has
    old = {"create_execution_context_without_device_memory", "device_memory", "device_memory_size"}
    for ours, theirs in ((fake.Runtime, real.Runtime), (fake.Engine, real.ICudaEngine)):
        names = {name for name in dir(ours) if not name.startswith("_")} - {"refused", "error"}
        assert names - old <= set(dir(theirs)), names - old - set(dir(theirs))
    names = {name for name in vars(fake.Context) if not name.startswith("_")} | {"set_device_memory"}
    assert names <= set(dir(real.IExecutionContext))
    assert {kind.name for kind in fake.DataType} <= set(real.DataType.__members__)
    assert {mode.name for mode in fake.TensorIOMode} <= set(real.TensorIOMode.__members__)
    strategies = real.ExecutionContextAllocationStrategy.__members__
    assert {strategy.name for strategy in Strategy} <= set(strategies)
