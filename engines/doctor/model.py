"""List what is missing on a machine to build and run one model, each with the command that fixes it. Builds and loads nothing.

The machine is described by `report`, the result of `engines.doctor.doctor.diagnose`.
"""

from __future__ import annotations

import math
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engines.doctor.doctor import library_of, reasons_against_loading
from engines.onnx_compat import Version, export_command
from engines.trtexec.command import (
    SUPPORTED,
    BuildRequest,
    input_shapes,
    input_spec,
    is_supported,
    precision_flags,
    profiles_of,
    trtexec_line,
)
from runtime.backends.tensorrt.compat import WORKSPACE_MIB
from runtime.errors import UserError
from runtime.files.manifest import read_manifest

MIB, GIB_MIB = 1 << 20, 1024
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
# The host memory of a build, as a multiple of the model's FP32 weights. It was measured with TensorRT-RTX 1.7 and the project's
# largest model; smaller precisions need less. The builder's scratch memory on the device is added to it.
BUILD_FACTOR = 4
# How often a session holds the images of a batch: in two slots, each with pinned and device memory.
COPIES = 4
BUILD = ("python", "-m", "engines", "build")


class Builder(NamedTuple):
    """A builder of engines: its `name` for `engines build --builder`, the library that it uses, and the library's version."""

    name: str
    library: str
    version: str


def examine_model(path: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is missing to run a model, an ONNX file or an engine: {path, ok, why, engine, expected_memory_mib, missing}.

    `missing` lists {what, fix}, where `fix` is a command or an instruction, or None if `what` already contains it. `ok` is true if
    nothing is missing. `why` is a text that lists what is missing, or says that nothing is. The other two keys are for an ONNX file:

    - `engine` describes the engine to build: {precision, batch, command} and the three fields of its `Builder`. `batch` is the profile
      [min, opt, max]. `engine` is None if the machine has no builder.
    - `expected_memory_mib` is the result of the function `expected_memory_mib`.

    Both are None for an engine, and for a file that cannot be examined.
    """
    if path.suffix == ".safetensors":
        fix = shlex.join(["python", "export_onnx.py", str(path), "--out", str(path.with_suffix(".onnx"))])
        return _answer(
            path,
            [
                {
                    "what": f"{path}: these are weights, which must be exported before a device runs them",
                    "fix": fix,
                }
            ],
        )
    if path.suffix != ".onnx":
        reasons = reasons_against_loading(path, report)
        missing = [*map(_split, reasons), *_missing_to_run(report, library_of(path))]
        return _answer(path, missing, if_ready="built for this machine")
    try:
        return _examine_onnx(path, report)
    except UserError as error:
        return _answer(path, [_split(str(error))])
    # a damaged manifest may raise any of these errors, because only a build checks its values
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return _answer(
            path,
            [{"what": f"{path}.json: the manifest is damaged ({error})", "fix": f"export {path.name} again"}],
        )


def _examine_onnx(path: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    manifest = read_manifest(path)
    profile = profiles_of(input_spec(manifest, str(path)), ())[0]
    expected = expected_memory_mib(manifest, path, profile.max)
    builder = default_builder(report)
    if builder is None:
        return _answer(path, _missing_to_build(report) + _missing_to_run(report), expected=expected)
    engine = {
        **builder._asdict(),
        "precision": manifest.get("precision", "fp32"),
        "batch": list(profile),
        "command": shlex.join([*BUILD, str(path), "--builder", builder.name]),
    }
    missing = _missing_in_file(path, manifest, builder) + _missing_to_run(report, builder.library)
    missing += _missing_memory(report, expected, path) + _missing_disk(path, expected["weights"])
    if report["root"] != "/":
        return _answer(
            path,
            missing,
            engine=engine,
            expected=expected,
            if_ready="nothing is missing, as far as files can tell",
        )
    return _answer(path, missing, engine=engine, expected=expected)


def default_builder(report: Mapping[str, Any]) -> Builder | None:
    """Return the first usable one of trtexec, Python's TensorRT and TensorRT-RTX on the machine of `report`; None if it has none."""
    for name, probe, library in (
        ("trtexec", "trtexec", "tensorrt"),
        ("python", "tensorrt", "tensorrt"),
        ("rtx", "tensorrt_rtx", "tensorrt_rtx"),
    ):
        version = report[probe].get("version")
        if version and (name == "rtx" or is_supported(_numbers(version))):
            return Builder(name, library, version)
    return None


def expected_memory_mib(manifest: Mapping[str, Any], path: Path, batch: int) -> dict[str, int]:
    """Return an estimate of the memory for a model, {weights, run_at_least, build_at_most} in MiB.

    `manifest` is that of the ONNX file at `path`, and `batch` is the largest batch. `run_at_least` is the weights and the buffers of
    this batch, without the few hundred MiB of CUDA itself. `build_at_most` is a measured multiple of the FP32 weights, plus the
    builder's default scratch memory. On a Jetson, the CPU and the GPU share the memory.
    """
    bytes_per_weight = BYTES[manifest.get("precision", "fp32")]
    params = manifest.get("params") or path.stat().st_size / bytes_per_weight
    spec = input_spec(manifest, str(path))
    bytes_per_value = 1 if spec.layout == "uint8-nhwc" else 4
    image_bytes = math.prod(input_shapes(spec, batch)["images"]) * bytes_per_value
    weight_bytes = params * bytes_per_weight
    memory = {
        "weights": weight_bytes / MIB,
        "run_at_least": (weight_bytes + COPIES * image_bytes) / MIB,
        "build_at_most": BUILD_FACTOR * params * BYTES["fp32"] / MIB + WORKSPACE_MIB,
    }
    return {name: math.ceil(value) for name, value in memory.items()}


def _missing_in_file(
    path: Path, manifest: Mapping[str, Any], builder: Builder
) -> list[dict[str, str | None]]:
    missing, version = [], _numbers(builder.version)
    try:
        if builder.name == "trtexec":
            trtexec_line(manifest, version, BuildRequest(path, path.with_suffix(".engine")))
        elif builder.name == "python":
            precision_flags(manifest, version, str(path))
    except UserError as error:
        missing.append(_split(str(error)))
    export_again = f"{export_command(manifest, version, str(path))} --check ROOT"
    if (manifest.get("gate") or {}).get("passed") is not True:
        missing.append({"what": f"{path}: the file has not passed a quality gate", "fix": export_again})
    if not Path(f"{path}.check.npz").is_file():
        missing.append(
            {
                "what": f"{path}: the check crops that verify an engine are not beside the file",
                "fix": export_again,
            }
        )
    return missing


def _missing_to_build(report: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """Return what is missing on a machine that has no usable builder."""
    versions = [report[name]["version"] for name in ("trtexec", "tensorrt") if "version" in report[name]]
    if versions:
        return [
            {
                "what": f"TensorRT {versions[0]} is not supported; supported: {SUPPORTED}",
                "fix": "install JetPack 6 or 7",
            }
        ]
    fix = "sudo apt-get install nvidia-jetpack" if report["board"]["l4t"] else "pip install '.[rtx]'"
    return [{"what": f"this machine has no builder of engines: {report['trtexec']['error']}", "fix": fix}]


def _missing_to_run(report: Mapping[str, Any], library: str = "tensorrt") -> list[dict[str, str | None]]:
    missing: list[dict[str, str | None]] = []
    if not report["cuda"].get("gpus"):
        reason = report["cuda"].get("error", "CUDA lists none")
        missing.append(
            {
                "what": f"this machine has no GPU ({reason})",
                "fix": "run this on the device that will run the engine",
            }
        )
    if "error" in report[library]:
        fix = "pip install '.[rtx]'" if library == "tensorrt_rtx" else "pip install tensorrt"
        if report["board"]["l4t"] is not None and library == "tensorrt":
            # only the system's Python finds the module that apt installs
            fix = "sudo apt-get install python3-libnvinfer && python3 -m venv --system-site-packages .venv"
        missing.append({"what": f"Python's {library}: {report[library]['error']}", "fix": fix})
    if "CUDA binding" in report["binding"].get("error", ""):
        major = (report["cuda_toolkit"] or report["cuda"].get("driver") or "12").split(".")[0]
        missing.append({"what": report["binding"]["error"], "fix": f"pip install 'cuda-bindings=={major}.*'"})
    if report["agree"] is False and library == "tensorrt":
        trtexec, python = report["trtexec"]["version"], report["tensorrt"]["version"]
        missing.append(
            {
                "what": f"the versions of trtexec ({trtexec}) and of Python's TensorRT ({python}) differ",
                "fix": "build with --builder python, or install the same version of both",
            }
        )
    return missing


def _missing_memory(
    report: Mapping[str, Any], expected: Mapping[str, int], path: Path
) -> list[dict[str, str | None]]:
    memory = report["memory_gib"]
    if memory["available"] is None:
        return []
    free = int((memory["available"] + (memory["swap_free"] or 0)) * GIB_MIB)
    if free >= expected["build_at_most"]:
        return []
    without_workspace = expected["build_at_most"] - WORKSPACE_MIB
    what = (
        f"a build may need {expected['build_at_most']} MiB, but only {free} MiB of memory and swap are free"
    )
    if free - without_workspace >= 256:
        workspace = str(free - without_workspace)
        return [{"what": what, "fix": shlex.join([*BUILD, str(path), "--workspace", workspace])}]
    add_swap = (
        "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile "
        "&& sudo swapon /swapfile"
    )
    return [{"what": what, "fix": add_swap}]


def _missing_disk(path: Path, weights_mib: int) -> list[dict[str, str | None]]:
    free = shutil.disk_usage(path.parent).free // MIB
    # an older engine stays until the new one is written
    if free >= 2 * weights_mib:
        return []
    return [
        {
            "what": f"{path.parent}: {free} MiB are free, but a build needs {2 * weights_mib} MiB",
            "fix": "free space on its disk, or choose a folder on another disk with --out",
        }
    ]


def _answer(
    path: Path,
    missing: list[dict[str, str | None]],
    *,
    engine: dict[str, Any] | None = None,
    expected: dict[str, int] | None = None,
    if_ready: str = "an engine can be built and run here",
) -> dict[str, Any]:
    why = "; ".join(str(lack["what"]) for lack in missing)
    return {
        "path": str(path),
        "ok": not missing,
        "why": why or if_ready,
        "engine": engine,
        "expected_memory_mib": expected,
        "missing": missing,
    }


def _split(reason: str) -> dict[str, str | None]:
    """Split an error message into {what, fix}: what is wrong and, after the last semicolon, what to run."""
    what, _, fix = reason.rpartition("; ")
    # "rebuild: python -m engines build ..."
    return {"what": what or fix, "fix": re.sub(r"^[a-z ]+: ", "", fix) if what else None}


def _numbers(version: str) -> Version:
    """Parse a library's version: `10.3.0.26.post1` -> (10, 3, 0, 26)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])
