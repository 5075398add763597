"""A strict fake of the TensorRT bindings on a fake GPU. Its engines compute a numpy model when their stream runs the work.

A plan is JSON. If the real library leaves a call undefined, Misuse is raised here. If it returns False or None, this fake does too.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.fakes.cuda import FakeGpu
from tests.fakes.gpu import Misuse, Work

DIM = 6
HEIGHT, WIDTH = 8, 4
# The number of rows of the camera embedding table.
CAMERAS = 8
MAGIC = b"fake plan "


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT32 = 3
    UINT8 = 5
    INT64 = 8


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class Strategy(enum.Enum):
    STATIC = 0
    USER_MANAGED = 2


NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "UINT8": np.uint8, "INT64": np.int64}


class ILogger:
    def __init__(self) -> None:
        self.made = True


def plan(
    batch: int | Sequence[tuple[int, int, int]] = 4,
    *,
    camera: str | None = None,
    floats: bool = False,
    dim: int = DIM,
    tensors: dict[str, Any] | None = None,
) -> bytes:
    """Return the bytes of an engine with a fixed batch size, or with profiles (min, opt, max). `camera` is the type of its ids."""
    size = [3, HEIGHT, WIDTH] if floats else [HEIGHT, WIDTH, 3]
    found = {
        "images": ["FLOAT" if floats else "UINT8", size, "INPUT"],
        "features": ["FLOAT", [dim], "OUTPUT"],
    }
    if camera:
        found["camera_ids"] = [camera, [], "INPUT"]
    content = {
        "batch": batch if isinstance(batch, int) else -1,
        "profiles": batch,
        "tensors": found | (tensors or {}),
    }
    return MAGIC + json.dumps(content).encode()


def model(images: np.ndarray, ids: np.ndarray | None = None, *, dim: int = DIM) -> np.ndarray:
    """Return features (B, dim) float32 of `images` (B, ...), each from its image and camera. An image of 251s gives NaN."""
    rows = images.reshape(len(images), HEIGHT * WIDTH * 3).astype(np.float64) / 255
    if ids is not None and not ((ids >= 0) & (ids < CAMERAS)).all():
        raise Misuse(f"camera ids {ids} reach beyond the embedding table")
    weights = np.random.default_rng(0).normal(size=(rows.shape[1], dim))
    features = np.tanh(rows @ weights) + (0 if ids is None else 0.01 * ids.astype(np.float64)[:, None])
    features[(rows == 251 / 255).all(axis=1)] = np.nan
    return features.astype(np.float32)


class FakeTensorRt:
    """A fake of the module `tensorrt` or `tensorrt_rtx`."""

    ILogger = ILogger

    def __init__(self, gpu: FakeGpu, version: str = "10.3.0") -> None:
        self.gpu, self.__version__ = gpu, version
        self.DataType, self.TensorIOMode = DataType, TensorIOMode
        if not version.startswith("8."):
            self.ExecutionContextAllocationStrategy = Strategy
        self.host_code: list[Any] = []
        # The name of a call that returns as if it had failed -> the message that is logged then.
        self.refusals: dict[str, str] = {}

    def install(self, monkeypatch: pytest.MonkeyPatch, name: str = "tensorrt") -> FakeTensorRt:
        """Make `import tensorrt`, or the import of another `name`, import this object."""
        monkeypatch.setitem(sys.modules, name, self)
        return self

    def Runtime(self, logger: Any) -> Runtime:
        if not self.gpu.probed:
            raise Misuse("a Runtime is made before CUDA was probed; the lean library crashes then")
        if not isinstance(logger, ILogger) or not logger.made:
            raise Misuse("a logger without the base class's __init__")
        return Runtime(self, logger)


class Counted:
    """An object of the library, which the fake GPU counts as not freed until it is destroyed."""

    def __init__(self, trt: FakeTensorRt, logger: Any) -> None:
        self._trt, self._gpu, self._logger = trt, trt.gpu, logger
        self.number = next(self._gpu.numbers)
        self._gpu.objects[self.number] = type(self).__name__

    def refused(self, call: str) -> bool:
        if call in self._trt.refusals:
            self.error(self._trt.refusals[call])
        return call in self._trt.refusals

    def error(self, text: str) -> None:
        self._logger.log(SimpleNamespace(name="INFO"), "Loaded engine size: 0 MiB")
        self._logger.log(SimpleNamespace(name="ERROR"), text)

    def __del__(self) -> None:
        self._gpu.objects.pop(self.number)
        if any(work.context == self.number for work in self._gpu.pending()):
            self._gpu.misuses.append("a context was destroyed while it computes")


class Runtime(Counted):
    engine_host_code_allowed = False

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        self._trt.host_code.append(self.engine_host_code_allowed)
        if self.refused("deserialize_cuda_engine"):
            return None
        if not data.startswith(MAGIC):
            self.error("Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed.")
            return None
        return Engine(self._trt, self._logger, json.loads(data[len(MAGIC) :]))


class Engine(Counted):
    device_memory_size = 4096

    def __init__(self, trt: FakeTensorRt, logger: Any, content: dict[str, Any]) -> None:
        super().__init__(trt, logger)
        self._tensors, self.batch = content["tensors"], content["batch"]
        self._profiles = content["profiles"] if self.batch == -1 else [[self.batch] * 3]
        self.num_io_tensors, self.num_optimization_profiles = len(self._tensors), len(self._profiles)
        # In TensorRT 8: the number of a profile -> the context that uses it.
        self.holders: dict[int, int] = {}
        if trt.__version__.startswith("8."):
            self.create_execution_context_without_device_memory = lambda: self._context()
        else:
            self.device_memory_size_v2 = self.device_memory_size

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode[self._tensors[name][2]]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType[self._tensors[name][0]]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.batch, *self._tensors[name][1])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        if self.get_tensor_mode(name) is not TensorIOMode.INPUT or self.batch != -1:
            raise Misuse("only dynamic inputs have profile shapes")
        return [(size, *self._tensors[name][1]) for size in self._profiles[index]]

    def create_execution_context(self, strategy: Strategy) -> Context | None:
        if strategy is not Strategy.USER_MANAGED or self._trt.__version__.startswith("8."):
            raise Misuse("each context with memory of its own, or a call that 8.6 does not have")
        return self._context()

    def _context(self) -> Context | None:
        if self._trt.__version__.startswith("8.") and self.batch == -1 and self.holders:
            self.error("Profile 0 has been chosen by another IExecutionContext.")
            return None
        return None if self.refused("create_execution_context") else Context(self)


class Context(Counted):
    def __init__(self, engine: Engine) -> None:
        super().__init__(engine._trt, engine._logger)
        # As in the real bindings, an engine lives as long as its contexts.
        self._engine = engine
        self._profile, self._shapes, self._addresses = 0, {}, {}
        self._memory: tuple[int, int] | None = None
        self._runs, self._captured = 0, False
        if engine.batch == -1:
            engine.holders[0] = self.number

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "device_memory":
            self._change()
            self._memory = (value, self._engine.device_memory_size)
        elif name.startswith("_") or name == "number":
            super().__setattr__(name, value)
        else:
            raise Misuse(f"a context has no {name}")

    def __getattr__(self, name: str) -> Any:
        if name == "set_device_memory" and not self._trt.__version__.startswith("8."):
            return self._set_device_memory
        raise AttributeError(name)

    def _change(self) -> None:
        if self._captured:
            raise Misuse("a context is changed after a graph was captured from it")
        self._runs = 0

    def _set_device_memory(self, memory: int, size: int) -> None:
        self._change()
        if size < self._engine.device_memory_size:
            raise Misuse("too little scratch memory")
        self._memory = (memory, size)

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self._change()
        if type(stream) is not int or stream not in self._gpu.streams:
            raise Misuse("no such stream")
        self._profile, self._shapes = index, {}
        return index < self._engine.num_optimization_profiles

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._change()
        if name not in self._engine._tensors or self._engine.get_tensor_mode(name) is not TensorIOMode.INPUT:
            raise Misuse(f"{name} is no input")
        if tuple(shape[1:]) != tuple(self._engine._tensors[name][1]):
            raise Misuse(f"{name} does not have the shape {shape}")
        low, _, high = self._engine._profiles[self._profile]
        if not low <= shape[0] <= high or self.refused("set_input_shape"):
            self.error(f"Runtime dimension {shape[0]} does not satisfy any optimization profile.")
            return False
        self._shapes[name] = shape[0]
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._change()
        if name not in self._engine._tensors or type(memory) is not int:
            raise Misuse(f"{name} is no tensor, or {memory!r} no address")
        self._addresses[name] = memory
        return True

    def infer_shapes(self) -> list[str]:
        names = [name for name, tensor in self._engine._tensors.items() if tensor[2] == "INPUT"]
        return [name for name in names if self._engine.batch == -1 and name not in self._shapes]

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self.refused("execute_async_v3"):
            return False
        if type(stream_handle) is not int:
            raise Misuse("TensorRT takes the number of a stream")
        if missing := self.infer_shapes():
            raise Misuse(f"execute before the shape of {missing} is set")
        capturing = self._gpu.stream(stream_handle).captured is not None
        if capturing and not self._runs:
            raise Misuse("a capture before the first run")
        batches = {self._engine.batch} if self._engine.batch != -1 else set(self._shapes.values())
        if len(batches) != 1:
            raise Misuse(f"inputs of different batches {batches}")
        (batch,) = batches
        self._check_memory()
        touches, views = [self._memory[0]], {}
        for name, (kind, row, _) in self._engine._tensors.items():
            if name not in self._addresses:
                raise Misuse(f"execute before the address of {name} is set")
            shape = (batch, *row)
            size = int(np.prod(shape)) * np.dtype(NUMPY[kind]).itemsize
            base, data = self._gpu.block(self._gpu.device, self._addresses[name], size, "device memory")
            views[name] = data.view(NUMPY[kind]).reshape(shape)
            touches.append(base)

        def run() -> None:
            width = views["features"].shape[1]
            views["features"][:] = model(views["images"], views.get("camera_ids"), dim=width)

        self._gpu.enqueue(stream_handle, Work(run, tuple(touches), self.number))
        self._runs, self._captured = self._runs + 1, self._captured or capturing
        return True

    def _check_memory(self) -> None:
        if self._memory is None:
            raise Misuse("execute before the context has scratch memory")
        self._gpu.block(self._gpu.device, *self._memory, "scratch memory")
