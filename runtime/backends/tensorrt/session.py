"""Load TensorRT and TensorRT-RTX engines. No other module of the runtime imports their libraries; `execution` runs the engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runtime.backends.library import Library, importing
from runtime.backends.tensorrt.compat import differences, rebuild_command, siblings, version_compatible
from runtime.backends.tensorrt.cuda import open_cuda
from runtime.backends.tensorrt.execution import EngineSession, Loaded, failure
from runtime.backends.tensorrt.io import read_io
from runtime.errors import ArtifactError, ConfigError
from runtime.host.jetson import this_l4t
from runtime.spec import InputSpec
from runtime.wording import reason_of

PACKAGES = "JetPack and NVIDIA's packages bring it (python3-libnvinfer; venv --system-site-packages)"
LIBRARIES = {
    "tensorrt": Library("tensorrt", PACKAGES, f"reinstall TensorRT as a whole, of one version: {PACKAGES}"),
    "tensorrt_rtx": Library(
        "tensorrt_rtx",
        "pip install tensorrt-rtx-cu13, or -cu12 for a CUDA 12 driver",
        "pip install --force-reinstall tensorrt-rtx-cu13, or -cu12 for a CUDA 12 driver",
    ),
}
# the most errors of the library's log to keep, and the most characters of one error
LOGGED = 8
LONGEST = 2_000


def open_tensorrt(
    path: Path | str,
    spec: InputSpec,
    *,
    flavour: str = "tensorrt",
    manifest: Mapping[str, Any] | None = None,
    others: Sequence[Path] = (),
) -> EngineSession:
    """Open the engine at `path` and the engines of the same model for other batch sizes, as one session on CUDA device 0.

    The other engines are the files `others` and those that the `manifest` of the engine lists. `spec` describes the model's input.
    `flavour` is the library that built the engines, "tensorrt" or "tensorrt_rtx". Before an engine is loaded, the machine in the
    manifest is compared with this one. With `manifest` None, nothing is compared, and no other engines are listed.

    Raises DeviceError if a library, driver or device is missing, OutOfMemory if the largest batch does not fit into the memory, and
    ArtifactError for an engine of another machine, TensorRT version or model.
    """
    if flavour not in LIBRARIES:
        raise ConfigError(f"flavour={flavour!r}: give one of {', '.join(LIBRARIES)}")
    # CUDA goes first: the library may crash where CUDA does not start
    cuda = open_cuda()
    trt = _library(flavour)
    path, manifest = Path(path), manifest or {}
    again = f"rebuild it here: {rebuild_command(manifest, path)}"
    with cuda.current(), ExitStack() as stack:
        portable = flavour == "tensorrt_rtx"
        if mismatches := differences(
            manifest, tensorrt=trt.__version__, gpu=cuda.gpu(), l4t=this_l4t(), portable=portable
        ):
            raise ArtifactError(f"{path}: {'; '.join(mismatches)}; {again}")
        paths = (path, *others, *siblings(path, manifest))
        log: list[str] = []
        runtime = trt.Runtime(_logger(trt, log))
        if version_compatible(manifest):
            # such an engine contains a runtime, which is native code; the hash of the file was verified before
            runtime.engine_host_code_allowed = True
        engines: list[Loaded] = []
        # the stack frees in reverse order: the engines first, then the runtime that created them
        stack.callback([runtime].clear)
        stack.callback(engines.clear)
        for file in paths:
            engine = _deserialize(runtime, log, file, again)
            engines.append(Loaded(engine, read_io(engine, file, spec, again)))
            if engines[-1].io.tensors != engines[0].io.tensors:
                raise ArtifactError(
                    f"{file}: has other inputs or outputs than {path}, so they are not the same model; {again}"
                )
        return EngineSession(trt, cuda, log, engines, stack)


def _library(flavour: str) -> Any:
    with importing(LIBRARIES[flavour], needs=("Runtime", "ILogger")):
        if flavour == "tensorrt":
            import tensorrt

            return tensorrt
        import tensorrt_rtx

        return tensorrt_rtx


def _logger(trt: Any, log: list[str]) -> Any:
    """Return a TensorRT logger that appends the first errors to `log`, each as one line, and prints nothing."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity.name in ("ERROR", "INTERNAL_ERROR") and len(log) < LOGGED:
                log.append(reason_of(msg, LONGEST))

    return Log()


def _deserialize(runtime: Any, log: list[str], path: Path, again: str) -> Any:
    log.clear()
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be read: {error.strerror}; check its permissions, or {again}"
        ) from None
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is not None:
        return engine
    # the first error is the cause, and the later ones follow from it
    reason = log[0] if log else "no reason given"
    if "cudaError" in reason or "CUDA initialization" in reason or "out of memory" in reason.lower():
        raise failure(f"{path} cannot be loaded", log)
    raise ArtifactError(f"{path}: TensorRT cannot load it: {reason_of(reason)}; {again}")
