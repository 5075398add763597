"""Test which native libraries work on this machine. Each test (probe) runs in a child process, so that a crash ends only the child.

`python -m engines.probe NAME` runs one probe and prints its result as JSON. This is {"error": reason}, or the keys that the docstring
of the probe's function lists.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.backends.library import Library, clashing, importing
from runtime.errors import UserError

ProbeResult = dict[str, Any]
TIMEOUT_S = 120
# cuDeviceGetAttribute: COMPUTE_CAPABILITY_MAJOR, _MINOR
MAJOR, MINOR = 75, 76
# values of CUresult, the same in every version
STUB_LIBRARY, NO_DEVICE = 34, 100


def run_probe(name: str, *, timeout_s: float = TIMEOUT_S) -> ProbeResult:
    """Run the probe `name`, a key of PROBES, in a child process and return its result, a dict of JSON values.

    If the probe fails, or the process crashes or does not end within `timeout_s` seconds, the result is {"error": reason}.
    """
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        child = subprocess.run(
            [sys.executable, "-m", "engines.probe", name],
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {timeout_s:g} s"}
    if child.returncode < 0:
        return {"error": f"crashed with {signal.Signals(-child.returncode).name}"}
    try:
        # libraries may print other lines before the last one
        result: ProbeResult = json.loads(child.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last_line = [line.strip() for line in child.stderr.splitlines() if line.strip()][-1:]
        return {"error": f"exit status {child.returncode}: {' '.join(last_line) or 'no answer'}"}
    return result


def cuda() -> ProbeResult:
    """Probe the CUDA driver, without a Python binding: {driver, gpus: [{name, compute_capability, memory_mib}]}.

    `driver` is the newest CUDA version that the driver supports, such as "12.6". If the driver is missing or finds no GPU, the result
    has the key `error`.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {"error": "no NVIDIA driver (libcuda is missing)"}
    code = library.cuInit(0)
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    result: ProbeResult = {"driver": f"{version.value // 1000}.{version.value % 1000 // 10}", "gpus": []}
    if code:
        reasons = {
            STUB_LIBRARY: "libcuda is a stub without a driver",
            NO_DEVICE: "there is a driver, but no CUDA device",
        }
        return result | {"error": reasons.get(code, f"cuInit failed with {code}")}
    count = ctypes.c_int()
    library.cuDeviceGetCount(ctypes.byref(count))
    return result | {"gpus": [_gpu(library, index) for index in range(count.value)]}


def _gpu(library: Any, index: int) -> dict[str, Any]:
    device, value, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (MAJOR, MINOR):
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(str(value.value))
    return {
        "name": name.value.decode(errors="replace"),
        "compute_capability": ".".join(capability),
        "memory_mib": memory.value >> 20,
    }


def binding() -> ProbeResult:
    """Probe the CUDA binding of Python (cuda-python or pycuda) with device 0, as a TensorRT session uses it.

    The result is {gpu, compute_capability}: the name of the GPU, and a text such as "8.7". Raises DeviceError if the binding, the
    driver or the GPU is missing.
    """
    from runtime.backends.tensorrt.cuda import open_cuda

    cuda_binding = open_cuda()
    with cuda_binding.current():
        gpu = cuda_binding.gpu()
        return {"gpu": gpu.name, "compute_capability": gpu.compute_capability}


def probe_library(library: Library, needs: tuple[str, ...]) -> ProbeResult:
    """Probe the import of a Python library: {version}, or {version, clash} if several installed distributions overwrite its files.

    `clash` is a line that names these distributions. `needs` are attributes that the library must have. Raises DeviceError if the
    library is missing or broken.
    """
    with importing(library, needs=(*needs, "__version__")):
        module = importlib.import_module(library.name)
    clash = clashing(library.name)
    return {"version": str(module.__version__)} | ({"clash": clash} if clash else {})


def tensorrt(flavour: str) -> ProbeResult:
    """Probe the Python library `flavour`, "tensorrt" or "tensorrt_rtx" (TensorRT-RTX), as `probe_library` does."""
    from runtime.backends.tensorrt.session import LIBRARIES

    return probe_library(LIBRARIES[flavour], ("Runtime", "Builder", "ILogger"))


def openvino() -> ProbeResult:
    """Probe OpenVINO: the result of `probe_library`, and `devices`, the names of the devices that OpenVINO finds, such as "CPU"."""
    from runtime.backends.openvino import LIBRARY, devices

    return probe_library(LIBRARY, ()) | {"devices": devices()}


def simplejpeg() -> ProbeResult:
    """Probe simplejpeg, which decodes plain JPEG files faster than Pillow, as `probe_library` does."""
    from runtime.images.jpeg import LIBRARY

    return probe_library(LIBRARY, ("decode_jpeg",))


def trtexec() -> ProbeResult:
    """Probe the trtexec that `engines build` would use: {path, version}. Raises a UserError if it is missing or does not start."""
    from engines.trtexec.command import version_text
    from engines.trtexec.run import find_trtexec, trtexec_version

    path = find_trtexec()
    return {"path": str(path), "version": version_text(trtexec_version(path))}


def onnxruntime() -> ProbeResult:
    """Probe ONNX Runtime: the result of `probe_library` with {providers, lacks}.

    `providers` maps the name of each execution provider to whether a session really runs on it. `lacks` maps a provider that does not
    start to the shared library that it lacks, if this is known.
    """
    from runtime.backends.onnxruntime import LIBRARY, providers, starts

    result = probe_library(LIBRARY, ())
    runs, missing_libraries = {}, {}
    for provider in providers():
        runs[provider], missing_library = starts(provider, identity_model())
        if missing_library:
            missing_libraries[provider] = missing_library
    return result | {"providers": runs, "lacks": missing_libraries}


def identity_model() -> bytes:
    """Return the bytes of a minimal ONNX file of opset 13: y = Identity(x), where x and y are (1,) float32."""

    def part(field: int, body: bytes) -> bytes:
        return bytes([field << 3 | 2, len(body)]) + body

    def number(field: int, value: int) -> bytes:
        return bytes([field << 3, value])

    shape = part(2, part(1, number(1, 1)))
    kind = part(2, part(1, number(1, 1) + shape))
    node = part(1, part(1, b"x") + part(2, b"y") + part(4, b"Identity"))
    values = part(11, part(1, b"x") + kind) + part(12, part(1, b"y") + kind)
    return number(1, 7) + part(7, node + part(2, b"g") + values) + part(8, part(1, b"") + number(2, 13))


PROBES: dict[str, Callable[[], ProbeResult]] = {
    "cuda": cuda,
    "binding": binding,
    "tensorrt": lambda: tensorrt("tensorrt"),
    "tensorrt_rtx": lambda: tensorrt("tensorrt_rtx"),
    "trtexec": trtexec,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "simplejpeg": simplejpeg,
}


def main(name: str) -> None:
    """Run the probe `name` and print its result as JSON in the last line of stdout."""
    try:
        result = PROBES[name]()
    except UserError as error:
        result = {"error": str(error)}
    print(f"\n{json.dumps(result)}")


if __name__ == "__main__":
    main(sys.argv[1])
