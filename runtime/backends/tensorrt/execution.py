"""Run deserialised engines. Copies from and to pinned memory overlap the computation, and CUDA graphs save launch time."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.backends.tensorrt.cuda import CudaPython
from runtime.backends.tensorrt.io import EngineIO, choices, refuse_input, split
from runtime.backends.tensorrt.pycuda import PyCuda
from runtime.console import note
from runtime.errors import DeviceError, OutOfMemory
from runtime.session import check_features
from runtime.wording import reason_of

# the number of slots: one is filled and copied while the engine computes the batch in the other
SLOTS = 2


class Loaded(NamedTuple):
    """A deserialised engine, with its inputs, outputs and profiles."""

    engine: Any
    io: EngineIO


@dataclass
class _Slot:
    """Pinned and device memory for one batch of the largest size, and the events that mark the progress of this batch."""

    host: dict[str, NDArray[Any]]
    device: dict[str, int]
    uploaded: Any
    computed: Any
    downloaded: Any


@dataclass
class _Step:
    """What runs one batch size in one slot: an execution context and, from the second run on, a CUDA graph.

    With `own`, no other step uses the context, so it is set up once; a shared context is set up before every run.
    """

    context: Any
    io: EngineIO
    profile: int
    batch: int
    slot: _Slot
    own: bool
    runs: int = 0
    graph: Any = None

    def release(self) -> None:
        self.context = self.graph = None


class EngineSession:
    """A `runtime.session.Session` that runs one or several engines of one model; `dim` is the number of values in a feature.

    It takes any number of images, and splits and pads them to `batches`, the batch sizes at which it runs. `ends` is an ascending
    tuple of batch sizes, which `engines verify` runs: the smallest and the largest of every profile of every engine. Calls from
    several threads run one after the other.

    `close`, the end of a `with` block or the end of the program frees its memory. An error of the device also closes the session.
    After an out-of-memory error it stays usable; retry with a smaller batch.
    """

    def __init__(
        self, trt: Any, cuda: CudaPython | PyCuda, log: list[str], engines: list[Loaded], stack: ExitStack
    ) -> None:
        self._trt, self._cuda, self._log, self._engines = trt, cuda, log, engines
        self._io = engines[0].io
        self.dim = self._io.tensors["features"].row[0]
        self._choice = choices([engine.io for engine in engines])
        self.batches = tuple(sorted(self._choice))
        self.ends = tuple(
            sorted({size for engine in engines for ends in engine.io.profiles for size in ends})
        )
        self._lock = threading.Lock()
        self._steps: dict[tuple[int, int], _Step] = {}
        self._shared: dict[int, Any] = {}
        self._graphs = cuda.graphs
        self._up, self._compute, self._down = (cuda.stream(stack) for _ in range(3))
        self._slots = [self._slot(stack) for _ in range(SLOTS)]
        # all contexts compute one after the other, so they share one scratch memory
        self._scratch_size = max([_scratch_size(loaded.engine) for loaded in engines])
        self._scratch = cuda.allocate(max(self._scratch_size, 1), stack)
        stack.callback(self._shared.clear)
        self._stack = stack.pop_all()
        streams = (self._up, self._compute, self._down)
        self._finalizer = weakref.finalize(self, _shut, cuda, streams, self._stack)

    def __call__(
        self, images: NDArray[Any], camera_ids: NDArray[Any] | None = None, /
    ) -> NDArray[np.float32]:
        """Return the features (B, dim) float32, finite, of images (B, ...) and, if the engine takes them, camera ids (B,).

        Raises the errors of `Session`, and ConfigError for inputs that the engine does not take.
        """
        refuse_input(self._io.tensors, images, camera_ids)
        features = np.empty((len(images), self.dim), np.float32)
        with self._lock:
            if not self._finalizer.alive:
                raise DeviceError("the engine was closed by close() or after an earlier error; open it again")
            try:
                with self._cuda.current():
                    self._fill(features, images, camera_ids)
            except BaseException as error:
                # after an out-of-memory error the session stays usable, once the batches before it are done
                if not (isinstance(error, OutOfMemory) and self._idle()):
                    self._finalizer()
                raise
        return check_features(features, len(images), self.dim)

    def __enter__(self) -> EngineSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the execution contexts, buffers and streams. A second call does nothing."""
        with self._lock:
            self._finalizer()

    def _fill(self, features: NDArray[np.float32], images: NDArray[Any], ids: NDArray[Any] | None) -> None:
        """Run all batches in turn in the slots; the features of a slot are collected just before the slot is used again."""
        waiting: deque[tuple[_Slot, NDArray[np.float32]]] = deque()
        at = 0
        for number, (count, batch) in enumerate(split(len(images), self.batches)):
            if len(waiting) == SLOTS:
                self._collect(*waiting.popleft())
            part = slice(at, at + count)
            step = self._step(batch, number % SLOTS)
            self._start(step, images[part], None if ids is None else ids[part])
            waiting.append((step.slot, features[part]))
            at += count
        while waiting:
            self._collect(*waiting.popleft())

    def _start(self, step: _Step, images: NDArray[Any], ids: NDArray[Any] | None) -> None:
        slot, cuda = step.slot, self._cuda
        for name, rows in (("images", images), ("camera_ids", ids)):
            if rows is not None:
                host = slot.host[name][: step.batch]
                host[: len(rows)] = rows
                host[len(rows) :] = rows[-1]
                cuda.upload(slot.device[name], host, self._up)
        cuda.record(slot.uploaded, self._up)
        cuda.wait(self._compute, slot.uploaded)
        self._run(step)
        cuda.record(slot.computed, self._compute)
        cuda.wait(self._down, slot.computed)
        cuda.download(slot.host["features"][: step.batch], slot.device["features"], self._down)
        cuda.record(slot.downloaded, self._down)

    def _collect(self, slot: _Slot, features: NDArray[np.float32]) -> None:
        self._cuda.synchronize(slot.downloaded)
        features[:] = slot.host["features"][: len(features)]

    def _run(self, step: _Step) -> None:
        # The first run lets the library finish work that a capture must not contain. A batch size that comes once gets no graph.
        if step.own and step.runs == 1 and self._graphs:
            self._capture(step)
        if step.graph is not None:
            self._cuda.launch(step.graph, self._compute)
        else:
            if not step.own:
                self._set_up(step)
            self._execute(step)
        step.runs += 1

    def _capture(self, step: _Step) -> None:
        capturable = getattr(step.context, "is_stream_capturable", None)
        try:
            if capturable is not None and not capturable(int(self._compute)):
                raise DeviceError("TensorRT says that this engine cannot be captured in a graph")
            step.graph = self._cuda.capture(self._compute, lambda: self._execute(step), self._stack)
        except DeviceError as error:
            self._graphs = False
            note(f"CUDA graphs are not used, so each batch takes a little longer: {error}")

    def _execute(self, step: _Step) -> None:
        self._log.clear()
        if not step.context.execute_async_v3(int(self._compute)):
            raise failure(f"the engine failed with a batch of {step.batch} images", self._log)

    def _step(self, batch: int, slot: int) -> _Step:
        if (batch, slot) not in self._steps:
            index, profile = self._choice[batch]
            io = self._engines[index].io
            # TensorRT 8 allows only one context per profile of a dynamic engine, so batch sizes share it and have no CUDA graphs
            own = not (io.dynamic and self._trt.__version__.startswith("8."))
            if not own and index not in self._shared:
                self._shared[index] = self._context(index)
            context = self._context(index) if own else self._shared[index]
            step = _Step(context, io, profile, batch, self._slots[slot], own)
            # a context must be freed before its engine, even if something still refers to this step
            self._stack.callback(step.release)
            if own:
                self._set_up(step)
            self._steps[batch, slot] = step
        return self._steps[batch, slot]

    def _context(self, index: int) -> Any:
        self._log.clear()
        engine = self._engines[index].engine
        strategies = getattr(self._trt, "ExecutionContextAllocationStrategy", None)
        if strategies is None:
            context = engine.create_execution_context_without_device_memory()
        else:
            context = engine.create_execution_context(strategies.USER_MANAGED)
        if context is None:
            raise failure("TensorRT cannot create an execution context for the engine", self._log)
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(self._scratch, self._scratch_size)
        else:
            context.device_memory = self._scratch
        return context

    def _set_up(self, step: _Step) -> None:
        self._log.clear()
        done = True
        if step.io.dynamic and len(step.io.profiles) > 1:
            done = step.context.set_optimization_profile_async(step.profile, int(self._compute))
        for name, tensor in step.io.tensors.items():
            if tensor.is_input and step.io.dynamic:
                done = done and step.context.set_input_shape(name, (step.batch, *tensor.row))
            done = done and step.context.set_tensor_address(name, step.slot.device[name])
        if not done or step.context.infer_shapes():
            raise failure(f"the engine does not accept a batch of {step.batch} images", self._log)

    def _slot(self, stack: ExitStack) -> _Slot:
        host, device = {}, {}
        for name, tensor in self._io.tensors.items():
            size = self.batches[-1] * tensor.row_bytes
            pinned = self._cuda.allocate_pinned(size, stack)
            host[name] = pinned.view(tensor.dtype).reshape(-1, *tensor.row)
            device[name] = self._cuda.allocate(size, stack)
        return _Slot(host, device, *(self._cuda.event(stack) for _ in range(3)))

    def _idle(self) -> bool:
        """Wait for the device; return whether it has finished without an error."""
        try:
            with self._cuda.current():
                for stream in (self._up, self._compute, self._down):
                    self._cuda.finish(stream)
        except DeviceError:
            return False
        return True


def failure(text: str, log: Sequence[str]) -> DeviceError:
    """Return an error whose message is `text` and, as the reason, the first message in the library's `log`.

    It is an OutOfMemory if that message is about memory, else a DeviceError.
    """
    reason = log[0] if log else "no reason given"
    if "out of memory" in reason.lower() or "outofmemory" in reason.lower():
        return OutOfMemory(f"{text}: {reason_of(reason)}; use a smaller batch, or free memory")
    return DeviceError(f"{text}: {reason_of(reason)}; run: python -m engines doctor")


def _scratch_size(engine: Any) -> int:
    # TensorRT 8.6 has only the first name, 11 only the second
    size = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if size is None else size)


def _shut(cuda: CudaPython | PyCuda, streams: Sequence[Any], stack: ExitStack) -> None:
    """Wait for the device, then free everything, the latest first."""
    with suppress(DeviceError), ExitStack() as last:
        # a lost device refuses every call, but the program must free its own memory all the same
        with suppress(DeviceError):
            last.enter_context(cuda.current())
        last.enter_context(stack)
        for stream in streams:
            with suppress(DeviceError):
                cuda.finish(stream)
