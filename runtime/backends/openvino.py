"""Run ONNX files with OpenVINO on the CPU. No other module imports OpenVINO."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.library import Library, importing
from runtime.backends.onnx_scan import refuse_control_flow, refuse_external_data
from runtime.errors import ArtifactError, ConfigError, DeviceError, OutOfMemory
from runtime.host.processor import saturates
from runtime.session import check_features
from runtime.spec import InputSpec
from runtime.wording import reason_of

# With this package, the import of OpenVINO sends usage reports over the network and writes to ~/intel. None prevents its import.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
LIBRARY = Library("openvino", "pip install '.[openvino]'", "pip install --force-reinstall -U openvino")
with importing(LIBRARY, needs=("Core", "PartialShape")):
    import openvino

Graph = Callable[[NDArray[np.float32]], NDArray[np.float32]]
HINTS = {"fp32": "f32", "bf16": "bf16"}
TYPES = {"u8": np.uint8, "f32": np.float32, "i32": np.int32, "i64": np.int64}
# The most compiled graphs to keep, each for one batch size. At batch 1 such a graph is a fifth faster than a graph for any batch
# size. The compiled graphs share the weights, but each has its own working memory.
KEPT = 4
# Environment variables that make OpenVINO use fewer instruction sets than the processor has, and so perhaps not VNNI.
CUT_DOWN = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")


class OpenVinoSession:
    """A `runtime.session.Session` that runs an ONNX file with OpenVINO; `dim` is the number of values in a feature.

    A graph with a fixed batch size runs at this size, and smaller batches are padded to it. Any other graph is compiled for each new
    batch size, with one exception. If it is already compiled for a larger size, the new batch, such as the last one of a gallery, is
    padded to the larger size. Only when two such batches in succession have the same size is the graph compiled for that size too.
    """

    def __init__(
        self, core: openvino.Core, model: openvino.Model, path: Path, spec: InputSpec, config: dict[str, Any]
    ) -> None:
        self._core, self._model, self._path, self._config = core, model, path, config
        self._shapes = {node.get_any_name(): node.get_partial_shape() for node in model.inputs}
        self._types = {node.get_any_name(): node.get_element_type().get_type_name() for node in model.inputs}
        self._batch = self._check_inputs(spec)
        self.dim = self._feature_dim()
        self._compiled: dict[int, Any] = {}
        self._padded_last = 0

    def __call__(
        self, images: NDArray[Any], camera_ids: NDArray[Any] | None = None, /
    ) -> NDArray[np.float32]:
        """Return the features (B, dim) float32, finite, of images (B, ...) and, if the graph takes them, camera ids (B,).

        Raises the errors of `Session`, and ConfigError if camera ids are missing or not expected.
        """
        self._check_call(images, camera_ids)
        step = self._batch or max(len(images), 1)
        parts = [
            self._run(images[at : at + step], None if camera_ids is None else camera_ids[at : at + step])
            for at in range(0, len(images), step)
        ]
        features = np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)
        return check_features(features, len(images), self.dim)

    def matmul_types(self) -> dict[str, int]:
        """Count the matrix products of the compiled graph by the number type of their arithmetic, such as {"u8": 36, "bf16": 4}.

        The types are OpenVINO's names. The result is empty before the session's first call, which compiles the graph.
        """
        if not self._compiled:
            return {}
        compiled = next(reversed(self._compiled.values())).get_compiled_model()
        facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
        return dict(
            Counter(
                _computed_in(fact["runtimePrecision"].astype(str), fact["primitiveType"].astype(str))
                for fact in facts
                if fact["layerType"].astype(str) in ("FullyConnected", "MatMul")
            )
        )

    def _run(self, images: NDArray[Any], camera_ids: NDArray[Any] | None) -> NDArray[Any]:
        count = len(images)
        try:
            size = self._size_for(count)
            request = self._compiled[size] if size in self._compiled else self._compile(size)
            feed = {"images": _padded(images, size)}
            if camera_ids is not None:
                feed["camera_ids"] = _padded(camera_ids.astype(TYPES[self._types["camera_ids"]]), size)
            request.infer(feed)
        # OpenVINO raises RuntimeError and MemoryError, and its bindings TypeError and others.
        except Exception as error:
            raise self._failure(error, count) from None
        # The tensor is the request's own memory, which the next call overwrites.
        return np.array(request.get_tensor("features").data[:count])

    def _size_for(self, count: int) -> int:
        """Return the batch size at which to run `count` images.

        It is the fixed batch size if there is one, and `count` if a graph is compiled for `count`, or if none is compiled for a larger
        size. Otherwise it is the larger size, unless the last batch of this kind had `count` images too: then it is `count`. So no
        graph is compiled for a batch size that comes once.
        """
        if self._batch or count in self._compiled:
            return self._batch or count
        larger = [size for size in self._compiled if size > count]
        once, self._padded_last = count != self._padded_last, count
        return min(larger) if larger and once else count

    def _compile(self, size: int) -> Any:
        shapes = {name: [size, *list(shape)[1:]] for name, shape in self._shapes.items()}
        while len(self._compiled) >= KEPT:
            del self._compiled[next(iter(self._compiled))]
        self._model.reshape({name: openvino.PartialShape(shape) for name, shape in shapes.items()})
        compiled = self._core.compile_model(self._model, "CPU", self._config)
        self._compiled[size] = compiled.create_infer_request()
        return self._compiled[size]

    def _failure(self, error: Exception, count: int) -> DeviceError:
        text = str(error)
        if isinstance(error, MemoryError) or any(
            sign in text.lower() for sign in ("bad_alloc", "allocate", "out of memory")
        ):
            return OutOfMemory(
                f"{self._path}: out of memory with a batch of {count} images; use a smaller batch"
            )
        return DeviceError(
            f"{self._path}: OpenVINO failed with a batch of {count} images: {reason_of(error)}; try backend='onnxruntime'"
        )

    def _check_call(self, images: NDArray[Any], camera_ids: NDArray[Any] | None) -> None:
        takes_ids = "camera_ids" in self._types
        if (camera_ids is not None) != takes_ids:
            expected = "one camera id per image" if takes_ids else "no camera ids"
            raise ConfigError(f"{self._path}: the model takes {expected}; call it with {expected}")
        # OpenVINO would convert another type without an error
        if images.dtype != TYPES[self._types["images"]]:
            raise ConfigError(
                f"{self._path}: takes images {self._types['images']}, not {images.dtype}; convert them"
            )

    def _check_inputs(self, spec: InputSpec) -> int | None:
        """Return the graph's fixed batch size or None; raise ArtifactError unless its inputs are those of the manifest."""
        expected = {"images", "camera_ids"} if spec.camera == "input" else {"images"}
        if set(self._shapes) != expected:
            raise ArtifactError(
                f"{self._path}: has the inputs {sorted(self._shapes)}, but its manifest says {sorted(expected)}; export it again"
            )
        floats = spec.layout == "float-nchw"
        rest = [3, spec.height, spec.width] if floats else [spec.height, spec.width, 3]
        kind, shape = self._types["images"], self._shapes["images"]
        if kind != ("f32" if floats else "u8") or not shape.compatible(openvino.PartialShape([-1, *rest])):
            raise ArtifactError(
                f"{self._path}: takes images {kind} {shape}, but its manifest says "
                f"{'f32' if floats else 'u8'} {['batch', *rest]}; export it again"
            )
        if "camera_ids" in expected:
            kind, ids = self._types["camera_ids"], self._shapes["camera_ids"]
            if kind not in ("i32", "i64") or len(ids) != 1:
                raise ArtifactError(
                    f"{self._path}: camera_ids is {kind} {ids}, not integers (batch,); export it again"
                )
        return shape[0].get_length() if shape[0].is_static else None

    def _feature_dim(self) -> int:
        shapes = {node.get_any_name(): node.get_partial_shape() for node in self._model.outputs}
        shape = shapes.get("features")
        if len(shapes) != 1 or shape is None or len(shape) != 2 or not shape[1].is_static:
            output_shapes = {name: str(shape) for name, shape in shapes.items()}
            raise ArtifactError(
                f"{self._path}: has the outputs {output_shapes}, not features (batch, D); export it again"
            )
        return int(shape[1].get_length())


def open_openvino(
    path: Path | str, spec: InputSpec, *, threads: int | None = None, precision: str = "fp32"
) -> OpenVinoSession:
    """Open the ONNX file at `path` on this CPU as a session; `threads` None means all cores.

    `precision`, "fp32" or "bf16", is the type of the arithmetic in the float parts of the graph. The quantized parts (Q/DQ) compute in
    INT8, except on a processor whose INT8 sums saturate (`runtime.host.processor.saturates`); there they compute in float. Raises
    ConfigError for wrong options, ArtifactError for a file that cannot be used, and DeviceError if this CPU cannot run it.
    """
    path = Path(path)
    core, model, config = _opened(path, threads, precision)
    return OpenVinoSession(core, model, path, spec, config)


def open_graph(path: Path, *, threads: int | None = None, precision: str = "fp32") -> Graph:
    """Return a function that runs the ONNX file at `path`: it takes the input array and returns the output array.

    The file must have one float32 input and one output. It needs no manifest, so that a benchmark can time a part of a model.
    `threads` and `precision` are as in `open_openvino`.
    """
    core, model, config = _opened(path, threads, precision)
    requests: dict[tuple[int, ...], Any] = {}

    def run(array: NDArray[np.float32]) -> NDArray[np.float32]:
        if array.shape not in requests:
            model.reshape(openvino.PartialShape(list(array.shape)))
            requests[array.shape] = core.compile_model(model, "CPU", config).create_infer_request()
        requests[array.shape].infer([array])
        return np.array(requests[array.shape].get_output_tensor().data)

    return run


def _opened(path: Path, threads: int | None, precision: str) -> tuple[openvino.Core, Any, dict[str, Any]]:
    if precision not in HINTS:
        raise ConfigError(f"precision {precision!r}: OpenVINO computes in {', '.join(HINTS)}")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads={threads}: give 1 or more")
    refuse_external_data(path)
    refuse_control_flow(path)
    core = openvino.Core()
    if precision == "bf16" and not has_bf16(core):
        # OpenVINO would compute in fp32, or emulate bf16 slowly, without an error
        raise DeviceError(
            "backend='openvino-bf16': this CPU has no BF16 instructions; use backend='openvino'"
        )
    config: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        # with pinning, two processes of one thread each would share the first core
        "ENABLE_CPU_PINNING": False,
        # OpenVINO must not quantise what the graph does not quantise
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    if saturates() or set(CUT_DOWN) & set(os.environ):
        # On such a processor, OpenVINO's INT8 kernels saturate and are not faster than its float kernels. So Q/DQ computes in float.
        config["LP_TRANSFORMS_MODE"] = "NO"
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    try:
        model = core.read_model(str(path))
    except Exception as error:
        raise ArtifactError(
            f"{path}: OpenVINO cannot load it: {reason_of(error)}; use backend='onnxruntime', or export it again"
        ) from None
    return core, model, config


def has_bf16(core: openvino.Core | None = None) -> bool:
    """Return whether this CPU multiplies BF16 natively (AVX512-BF16 or AMX), as OpenVINO's `core` says; None opens a new core."""
    return "BF16" in (core or openvino.Core()).get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _computed_in(precision: str, kernel: str) -> str:
    """Return the type of a product. A float kernel that unpacks INT8 weights reports the type of the weights instead."""
    return "f32" if kernel.endswith("_f32") else precision


def devices() -> list[str]:
    """Return the devices that OpenVINO finds, such as ["CPU"]. This project uses only the CPU."""
    return list(openvino.Core().available_devices)


def _padded(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Repeat the last row up to `size` rows; return the result in contiguous memory."""
    short = size - len(array)
    whole = np.concatenate([array, np.repeat(array[-1:], short, axis=0)]) if short else array
    return np.ascontiguousarray(whole)
