"""Run ONNX files with ONNX Runtime. No other module imports ONNX Runtime."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.library import Library, clashing, held_back, importing, missing_library
from runtime.backends.onnx_scan import has_fp16, refuse_control_flow, refuse_external_data
from runtime.errors import ArtifactError, ConfigError, DeviceError, OutOfMemory, UserError
from runtime.host.processor import saturates
from runtime.session import check_features
from runtime.spec import InputSpec
from runtime.wording import reason_of

# Unless this is set before the import, the build on PyPI sends usage reports with a device id, which it stores on the disk.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
LIBRARY = Library("onnxruntime", "pip install '.[cpu]'", "pip install --force-reinstall -U onnxruntime")
with importing(LIBRARY, needs=("InferenceSession", "SessionOptions", "get_available_providers")):
    import onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
Graph = Callable[[NDArray[np.float32]], NDArray[np.float32]]
# The messages of ONNX Runtime for a file that was written for a newer version.
IR_TOO_NEW = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
OPSET_TOO_NEW = re.compile(
    r"Opset (\d+) is under development.*official support for domain ai\.onnx is till opset (\d+)"
)
NO_MEMORY = ("allocate memory", "out of memory", "Out of memory", "bad_alloc")
INTEGERS: dict[str, type[np.int32] | type[np.int64]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class OnnxRuntimeSession:
    """A `runtime.session.Session` that runs an ONNX file with ONNX Runtime; `dim` is the number of values in a feature.

    It takes any number of images. For a graph with a fixed batch size, they are split into batches and the last one is padded.
    """

    def __init__(self, session: onnxruntime.InferenceSession, path: Path, spec: InputSpec) -> None:
        self._session = session
        self._path = path
        inputs = {node.name: node for node in session.get_inputs()}
        expected = {"images", "camera_ids"} if spec.camera == "input" else {"images"}
        if set(inputs) != expected:
            raise ArtifactError(
                f"{path}: has the inputs {sorted(inputs)}, but its manifest says {sorted(expected)}; export it again"
            )
        self._batch = _check_images(inputs["images"], path, spec)
        self._camera_type = None if len(inputs) == 1 else _camera_type(inputs["camera_ids"], path)
        self.dim = _feature_dim(session, path)

    def __call__(
        self, images: NDArray[Any], camera_ids: NDArray[Any] | None = None, /
    ) -> NDArray[np.float32]:
        """Return the features (B, dim) float32, finite, of images (B, ...) and, if the graph takes them, camera ids (B,).

        Raises the errors of `Session`, and ConfigError if camera ids are missing or not expected.
        """
        if (camera_ids is None) != (self._camera_type is None):
            expected = "no camera ids" if self._camera_type is None else "one camera id per image"
            raise ConfigError(f"{self._path}: the model takes {expected}; call it with {expected}")
        step = self._batch or max(len(images), 1)
        parts = [
            self._run(images[at : at + step], None if camera_ids is None else camera_ids[at : at + step])
            for at in range(0, len(images), step)
        ]
        features = np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)
        return check_features(features, len(images), self.dim)

    def _run(self, images: NDArray[Any], camera_ids: NDArray[Any] | None) -> NDArray[Any]:
        count = len(images)
        feed = {"images": _padded(images, self._batch)}
        if camera_ids is not None:
            feed["camera_ids"] = _padded(camera_ids.astype(self._camera_type), self._batch)
        try:
            (features,) = self._session.run(["features"], feed)
        # ONNX Runtime's exceptions share no base class but Exception.
        except Exception as error:
            text = str(error)
            if any(sign in text for sign in NO_MEMORY):
                raise OutOfMemory(
                    f"{self._path}: out of memory with a batch of {count} images; use a smaller batch"
                ) from None
            raise DeviceError(
                f"{self._path}: ONNX Runtime failed with a batch of {count} images: {reason_of(error)}"
            ) from None
        return np.asarray(features)[:count]


def open_onnxruntime(
    path: Path | str, spec: InputSpec, *, device: str = "cpu", threads: int | None = None, spin: bool = False
) -> OnnxRuntimeSession:
    """Open the ONNX file at `path` on `device`, "cpu" or "cuda", as a session.

    `threads` is the number of threads that compute one operator (None: all cores). With `spin`, idle threads wait in a busy loop,
    which saves a little latency but occupies their cores. Raises ConfigError for wrong options, ArtifactError for a file that cannot
    be used, and DeviceError for a missing device.
    """
    path = Path(path)
    return OnnxRuntimeSession(_session(path, device, threads, spin), path, spec)


def open_graph(path: Path, *, device: str = "cpu", threads: int | None = None) -> Graph:
    """Return a function that runs the ONNX file at `path`: it takes the input array and returns the output array.

    The file must have one float32 input and one output. It needs no manifest, so that a benchmark can time a part of a model.
    `device` and `threads` are as in `open_onnxruntime`.
    """
    session = _session(path, device, threads, False)
    (name,) = (node.name for node in session.get_inputs())

    def run(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {name: array})[0])

    return run


def session_options(*, threads: int | None = None, spin: bool = False) -> onnxruntime.SessionOptions:
    """Return the options of ONNX Runtime with which every session is created.

    They silence the log, set the number of threads (None: all cores), and keep INT8 sums from saturating on any processor. `spin`
    is as in `open_onnxruntime`.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    # x86 without VNNI adds pairs of uint8 x int8 products in 16 bits. Weights outside -64..63 can saturate these sums. With this
    # option the weights are multiplied as uint8, by kernels that do not saturate. On other processors the option only costs time.
    if saturates():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def providers() -> list[str]:
    """Return the names of ONNX Runtime's execution providers, the preferred one first. Some may fail to start (`starts`)."""
    return list(onnxruntime.get_available_providers())


def starts(provider: str, model: bytes) -> tuple[bool, str | None]:
    """Return (whether a session starts on the execution provider `provider`, the shared library that the provider lacks).

    The test creates a session of `model`, the bytes of an ONNX file. The second value is None if the session starts, or if the log of
    ONNX Runtime names no library.
    """
    options = onnxruntime.SessionOptions()
    with held_back() as printed:
        try:
            session = onnxruntime.InferenceSession(model, options, providers=[provider])
            # if a listed provider fails to load, ONNX Runtime uses the CPU without an error
            runs = session.get_providers()[0] == provider
            text = printed()
        # ONNX Runtime's exceptions share no base class but Exception.
        except Exception as error:
            runs, text = False, f"{error} {printed()}"
    return runs, None if runs else missing_library(text)


def _session(path: Path, device: str, threads: int | None, spin: bool) -> onnxruntime.InferenceSession:
    provider = _provider(device)
    if threads is not None and threads < 1:
        raise ConfigError(f"threads={threads}: give 1 or more")
    refuse_external_data(path)
    refuse_control_flow(path)
    options = session_options(threads=threads, spin=spin)
    # It computes the INT32 biases of an FP16 graph in FP16, where they overflow.
    disabled = ["WeightBiasQuantization"] if has_fp16(path) else None
    with held_back() as printed:
        try:
            with warnings.catch_warnings():
                # the warning about a provider that does not load; the check below reports it in one line
                warnings.simplefilter("ignore")
                session = onnxruntime.InferenceSession(
                    str(path), options, providers=[provider], disabled_optimizers=disabled
                )
        except Exception as error:
            # the log of ONNX Runtime names the missing CUDA library, but its exception does not
            if device != "cpu" and (lacking := missing_library(f"{error} {printed()}")):
                raise _missing(device, f"{provider} did not start: {lacking} is missing") from None
            raise _not_loaded(path, error) from None
        # ONNX Runtime falls back to the CPU when a provider's libraries do not load: never accept that silently.
        if session.get_providers()[0] != provider:
            lacking = missing_library(printed()) or "one of its CUDA or cuDNN libraries"
            raise _missing(device, f"{provider} did not start: {lacking} is missing")
    return session


def _not_loaded(path: Path, error: Exception) -> UserError:
    """Return the error for a file that ONNX Runtime cannot load, although its hash is right."""
    version, text = onnxruntime.__version__, str(error)
    if any(sign in text for sign in NO_MEMORY) or isinstance(error, MemoryError):
        return OutOfMemory(f"{path}: out of memory while loading it; free memory, or use a smaller model")
    if newer := IR_TOO_NEW.search(text):
        return ArtifactError(
            f"{path}: has IR version {newer[1]}, but ONNX Runtime {version} reads only up to IR version {newer[2]}; "
            "update ONNX Runtime: pip install -U onnxruntime, or export the model with this version of the project, which writes an "
            "older one"
        )
    if newer := OPSET_TOO_NEW.search(text):
        return ArtifactError(
            f"{path}: has opset {newer[1]}, but ONNX Runtime {version} reads only up to opset {newer[2]}; update ONNX Runtime: "
            "pip install -U onnxruntime, or export the model with this version of the project"
        )
    return ArtifactError(
        f"{path}: ONNX Runtime {version} cannot load it: {reason_of(error)}; {_advice(text)}"
    )


def _advice(text: str) -> str:
    """Return the advice for a file that does not load. A new export would have the same operators."""
    if clash := clashing("onnxruntime"):
        return f"{clash}: uninstall all of them, then {LIBRARY.install}"
    if any(sign in text for sign in ("IR version", "opset", "NOT_IMPLEMENTED")):
        return "install a newer ONNX Runtime, or export the file with the release of export_onnx.py that goes with this one"
    return "export it again"


def _provider(device: str) -> str:
    if device not in PROVIDERS:
        raise ConfigError(f"device={device!r}: give one of {', '.join(PROVIDERS)} for ONNX Runtime")
    if PROVIDERS[device] not in onnxruntime.get_available_providers():
        raise _missing(device, f"this ONNX Runtime {onnxruntime.__version__} has no {PROVIDERS[device]}")
    return PROVIDERS[device]


def _missing(device: str, cause: str) -> DeviceError:
    if clash := clashing("onnxruntime"):
        cause = f"{cause} ({clash})"
    return DeviceError(
        f"device={device!r}: {cause}; in a fresh environment: pip install '.[gpu]' (onnxruntime-gpu, never "
        "beside the onnxruntime of '.[cpu]'), or use device='cpu'"
    )


def _check_images(node: Any, path: Path, spec: InputSpec) -> int | None:
    """Return the graph's fixed batch or None; raise ArtifactError unless it takes the images that the manifest describes."""
    rest = [spec.height, spec.width, 3] if spec.layout == "uint8-nhwc" else [3, spec.height, spec.width]
    kind = "tensor(uint8)" if spec.layout == "uint8-nhwc" else "tensor(float)"
    if list(node.shape[1:]) != rest or node.type != kind:
        raise ArtifactError(
            f"{path}: takes images {node.type} {node.shape}, but its manifest says {kind} "
            f"{['batch', *rest]}; export it again"
        )
    return node.shape[0] if isinstance(node.shape[0], int) else None


def _camera_type(node: Any, path: Path) -> type[np.int32] | type[np.int64]:
    if node.type not in INTEGERS or len(node.shape) != 1:
        raise ArtifactError(
            f"{path}: camera_ids is {node.type} {node.shape}, not integers (batch,); export it again"
        )
    return INTEGERS[node.type]


def _feature_dim(session: onnxruntime.InferenceSession, path: Path) -> int:
    shapes = {node.name: node.shape for node in session.get_outputs()}
    shape = shapes.get("features", [])
    if len(shape) != 2 or not isinstance(shape[1], int):
        raise ArtifactError(f"{path}: has the outputs {shapes}, not features (batch, D); export it again")
    return int(shape[1])


def _padded(array: NDArray[Any], batch: int | None) -> NDArray[Any]:
    """Return the array with its last row repeated up to `batch` rows."""
    short = (batch or len(array)) - len(array)
    return np.concatenate([array, np.repeat(array[-1:], short, axis=0)]) if short else array
