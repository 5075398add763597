"""The table of the backends that run an ONNX file on a CPU, with the properties of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backend:
    """One way to run an ONNX file on a CPU.

    `label` names the backend in printed tables. `library` is the name of the library that it uses; the library's module in
    `runtime/backends/` and its entry in `engines doctor` have the same name. Several backends may share a library, such as
    "openvino" and "openvino-bf16"; the one with the library's own name uses the library's default arithmetic. `packages` are the
    Python packages whose versions influence the features. `arithmetic` is the type in which the backend computes the matrix products
    of an FP32 file. `fp32_limits` is the precision whose limits in `runtime.gate` hold for an FP32 file on this backend.
    """

    label: str
    library: str
    packages: tuple[str, ...]
    arithmetic: str = "fp32"
    fp32_limits: str = "fp32"


# The first backend is the default: export runs the quality gate on it, and its features are the closest to the torch model's.
# `runtime.choose_backend` takes a later backend only if it is faster.
ONNX_BACKENDS = {
    "onnxruntime": Backend("ONNX Runtime", "onnxruntime", ("onnxruntime", "onnxruntime-gpu")),
    "openvino": Backend("OpenVINO", "openvino", ("openvino",)),
    "openvino-bf16": Backend("OpenVINO, bf16", "openvino", ("openvino",), "bf16", "fp16"),
}

# Every distribution that may run an ONNX file, each once.
PACKAGES = tuple(dict.fromkeys(name for backend in ONNX_BACKENDS.values() for name in backend.packages))
# {library: label} of the optional libraries; that of the default backend is always installed.
OTHER_LIBRARIES = {
    name: backend.label for name, backend in tuple(ONNX_BACKENDS.items())[1:] if name == backend.library
}
