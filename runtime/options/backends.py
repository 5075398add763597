"""The backends that run an ONNX file on a CPU: one table of what the rest of the project must know of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backend:
    """One way to run an ONNX file on a CPU.

    `label` names the backend in tables. `library` names the file in `runtime/backends/` and the probe of `engines doctor`; the
    plain form of a library's backends has the library's name.
    `packages` are the distributions whose versions decide what the backend computes. `arithmetic` is the type in which it
    computes the products of an FP32 file, and `fp32_limits` is the precision whose gate limits an FP32 file must reach on it.
    """

    label: str
    library: str
    packages: tuple[str, ...]
    arithmetic: str = "fp32"
    fp32_limits: str = "fp32"


# The first one is the default: export judges a file on it, and its numbers are the nearest to the exported model's. A row further
# down must be faster to be chosen (`runtime.backend_timing.fastest`).
ONNX_BACKENDS = {
    "onnxruntime": Backend("ONNX Runtime", "onnxruntime", ("onnxruntime", "onnxruntime-gpu")),
    "openvino": Backend("OpenVINO", "openvino", ("openvino",)),
    "openvino-bf16": Backend("OpenVINO, bf16", "openvino", ("openvino",), "bf16", "fp16"),
}

# Every distribution that may run an ONNX file, each once.
PACKAGES = tuple(dict.fromkeys(name for backend in ONNX_BACKENDS.values() for name in backend.packages))
# Library -> label, of the libraries that a machine may lack: all but the default backend's.
OTHER_LIBRARIES = {
    name: backend.label for name, backend in tuple(ONNX_BACKENDS.items())[1:] if name == backend.library
}
