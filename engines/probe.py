"""What only native libraries can say of this machine, each asked in a child process: one that crashes costs its own answer.

`python -m engines.probe NAME` prints one answer as JSON: {"error": reason}, or the facts that the probe's function names.
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

from runtime.errors import UserError
from runtime.library import Library, clashing, importing

Answer = dict[str, Any]
TIMEOUT_S = 120
# cuDeviceGetAttribute: COMPUTE_CAPABILITY_MAJOR, _MINOR
MAJOR, MINOR = 75, 76
# CUresult, the same numbers in every version
STUB_LIBRARY, NO_DEVICE = 34, 100


def ask(name: str, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """The answer of the probe `name` of PROBES from a child process; {"error": ...} also when it crashes or hangs."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
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
    if done.returncode < 0:
        return {"error": f"crashed with {signal.Signals(-done.returncode).name}"}
    try:
        # libraries print what they like before it
        answer: Answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
        return {"error": f"exit status {done.returncode}: {' '.join(last) or 'no answer'}"}
    return answer


def cuda() -> Answer:
    """The driver itself, needing no binding: {driver "12.6", gpus: [{name, compute_capability "8.7", memory_mib}]}."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {"error": "no NVIDIA driver (libcuda is missing)"}
    code = library.cuInit(0)
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    facts: Answer = {"driver": f"{version.value // 1000}.{version.value % 1000 // 10}", "gpus": []}
    if code:
        reasons = {STUB_LIBRARY: "libcuda is a stub, no driver", NO_DEVICE: "a driver, but no CUDA device"}
        return facts | {"error": reasons.get(code, f"cuInit failed with {code}")}
    count = ctypes.c_int()
    library.cuDeviceGetCount(ctypes.byref(count))
    return facts | {"gpus": [_gpu(library, index) for index in range(count.value)]}


def _gpu(library: Any, index: int) -> Answer:
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


def binding() -> Answer:
    """Whether Python reaches device 0 as an engine's session does: {gpu, compute_capability}."""
    from runtime.backends.tensorrt.cuda import open_cuda

    found = open_cuda()
    with found.current():
        return {"gpu": found.gpu().name, "compute_capability": found.gpu().compute_capability}


def library(wanted: Library, needs: tuple[str, ...]) -> Answer:
    """A Python library as its session would import it: {version}, and `clash` where several builds are installed over one another."""
    with importing(wanted, needs=(*needs, "__version__")):
        found = importlib.import_module(wanted.name)
    clash = clashing(wanted.name)
    return {"version": str(found.__version__)} | ({"clash": clash} if clash else {})


def tensorrt(flavour: str) -> Answer:
    """TensorRT or TensorRT-RTX of Python: {version}."""
    from runtime.backends.tensorrt.session import LIBRARIES

    return library(LIBRARIES[flavour], ("Runtime", "Builder", "ILogger"))


def openvino() -> Answer:
    """OpenVINO: {version, devices}."""
    from runtime.backends.openvino import LIBRARY, devices

    return library(LIBRARY, ()) | {"devices": devices()}


def simplejpeg() -> Answer:
    """What decodes plain JPEG files sooner: {version}."""
    from runtime.images.jpeg import LIBRARY

    return library(LIBRARY, ("decode_jpeg",))


def trtexec() -> Answer:
    """The trtexec that `engines build` would use: {path, version}."""
    from engines.trtexec.command import version_text
    from engines.trtexec.run import find_trtexec, trtexec_version

    path = find_trtexec()
    return {"path": str(path), "version": version_text(trtexec_version(path))}


def onnxruntime() -> Answer:
    """ONNX Runtime: {version, providers: {name: whether a session really runs on it}, lacks: {name: its missing library}}."""
    from runtime.backends.onnxruntime import LIBRARY, providers, starts

    answer = library(LIBRARY, ())
    loaded, lacks = {}, {}
    for provider in providers():
        loaded[provider], lacking = starts(provider, identity_model())
        if lacking:
            lacks[provider] = lacking
    return answer | {"providers": loaded, "lacks": lacks}


def identity_model() -> bytes:
    """The smallest ONNX file: y = Identity(x), float32 (1,), opset 13, in protobuf's wire format."""

    def part(field: int, body: bytes) -> bytes:
        return bytes([field << 3 | 2, len(body)]) + body

    def number(field: int, value: int) -> bytes:
        return bytes([field << 3, value])

    shape = part(2, part(1, number(1, 1)))
    kind = part(2, part(1, number(1, 1) + shape))
    node = part(1, part(1, b"x") + part(2, b"y") + part(4, b"Identity"))
    values = part(11, part(1, b"x") + kind) + part(12, part(1, b"y") + kind)
    return number(1, 7) + part(7, node + part(2, b"g") + values) + part(8, part(1, b"") + number(2, 13))


PROBES: dict[str, Callable[[], Answer]] = {
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
    """Print the answer of one probe as the last line of stdout."""
    try:
        answer = PROBES[name]()
    except UserError as refusal:
        answer = {"error": str(refusal)}
    print(f"\n{json.dumps(answer)}")


if __name__ == "__main__":
    main(sys.argv[1])
