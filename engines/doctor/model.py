"""What the machine of a doctor's report lacks for one model, and the command that fixes it. Builds and loads nothing."""

from __future__ import annotations

import math
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engines.doctor.doctor import against, library_of
from engines.onnx_compat import Version, export_command
from engines.trtexec.command import (
    SUPPORTED,
    Build,
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
# A build of the project's largest model peaked at four times its FP32 weights in host memory, with TensorRT-RTX 1.7; smaller
# precisions at less. Scratch memory on the device comes on top.
BUILD_FACTOR = 4
# pinned and device memory, two slots of each
COPIES = 4
BUILD = ("python", "-m", "engines", "build")


class Builder(NamedTuple):
    """What would build an engine: `name` as `engines build --builder` takes it, its library and version."""

    name: str
    library: str
    version: str


def examine_model(path: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """{path, ok, engine, expected_memory_mib, missing: [{what, fix}]} of an ONNX file or an engine on the machine of `report`.

    `engine` is what would be built: {name, library, version, precision, batch, command}, null for an engine that is there.
    `fix` is the command, or what to do, null where the reason itself says it.
    """
    if path.suffix == ".safetensors":
        fix = shlex.join(["python", "export_onnx.py", str(path), "--out", str(path.with_suffix(".onnx"))])
        return _answer(
            path, [{"what": f"{path}: weights, which no device runs before they are exported", "fix": fix}]
        )
    if path.suffix != ".onnx":
        missing = [*map(_split, against(path, report)), *_to_run(report, library_of(path))]
        return _answer(path, missing, well="built for this machine")
    try:
        return _of_onnx(path, report)
    except UserError as refusal:
        return _answer(path, [_split(str(refusal))])
    # the values of a manifest are checked where they are used for good, here they are only looked at
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return _answer(
            path, [{"what": f"{path}.json: damaged ({error})", "fix": f"export {path.name} again"}]
        )


def _of_onnx(path: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    manifest = read_manifest(path)
    profile = profiles_of(input_spec(manifest, str(path)), ())[0]
    expected = expected_memory_mib(manifest, path, profile.max)
    builder = choose(report)
    if builder is None:
        return _answer(path, _to_build(report) + _to_run(report), expected=expected)
    engine = {
        **builder._asdict(),
        "precision": manifest.get("precision", "fp32"),
        "batch": list(profile),
        "command": shlex.join([*BUILD, str(path), "--builder", builder.name]),
    }
    missing = _of_the_file(path, manifest, builder) + _to_run(report, builder.library)
    missing += _of_memory(report, expected, path) + _of_disk(path, expected["weights"])
    if report["root"] != "/":
        return _answer(
            path, missing, engine=engine, expected=expected, well="nothing is missing that files tell of"
        )
    return _answer(path, missing, engine=engine, expected=expected)


def choose(report: Mapping[str, Any]) -> Builder | None:
    """What `engines build` would use on this machine: trtexec, Python's TensorRT, TensorRT-RTX; None where it has none."""
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
    """{weights, run_at_least, build_at_most} in MiB, estimated from the manifest; on a Jetson CPU and GPU share them.

    `run_at_least` is weights and buffers of the largest batch, without CUDA's own few hundred MiB. `build_at_most` is a
    measured multiple of the FP32 weights, and the builder's scratch memory as it is without --workspace.
    """
    size_of = BYTES[manifest.get("precision", "fp32")]
    params = manifest.get("params") or path.stat().st_size / size_of
    spec = input_spec(manifest, str(path))
    size = 1 if spec.layout == "uint8-nhwc" else 4
    images = math.prod(input_shapes(spec, batch)["images"]) * size
    weights = params * size_of
    build = BUILD_FACTOR * params * BYTES["fp32"] / MIB + WORKSPACE_MIB
    needs = {
        "weights": weights / MIB,
        "run_at_least": (weights + COPIES * images) / MIB,
        "build_at_most": build,
    }
    return {name: math.ceil(value) for name, value in needs.items()}


def _of_the_file(path: Path, manifest: Mapping[str, Any], builder: Builder) -> list[dict[str, str | None]]:
    missing, version = [], _numbers(builder.version)
    try:
        if builder.name == "trtexec":
            trtexec_line(manifest, version, Build(path, path.with_suffix(".engine")))
        elif builder.name == "python":
            precision_flags(manifest, version, str(path))
    except UserError as refusal:
        missing.append(_split(str(refusal)))
    again = f"{export_command(manifest, version, str(path))} --check ROOT"
    if (manifest.get("gate") or {}).get("passed") is not True:
        missing.append({"what": f"{path}: it never passed a quality gate", "fix": again})
    if not Path(f"{path}.check.npz").is_file():
        missing.append(
            {"what": f"{path}: the check crops that prove an engine are not beside it", "fix": again}
        )
    return missing


def _to_build(report: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """What to install where nothing builds engines."""
    tools = [report[name]["version"] for name in ("trtexec", "tensorrt") if "version" in report[name]]
    if tools:
        return [
            {
                "what": f"TensorRT {tools[0]} is not supported; supported: {SUPPORTED}",
                "fix": "install JetPack 6 or 7",
            }
        ]
    fix = "sudo apt-get install nvidia-jetpack" if report["board"]["l4t"] else "pip install '.[rtx]'"
    return [{"what": f"nothing that builds engines: {report['trtexec']['error']}", "fix": fix}]


def _to_run(report: Mapping[str, Any], library: str = "tensorrt") -> list[dict[str, str | None]]:
    missing: list[dict[str, str | None]] = []
    if not report["cuda"].get("gpus"):
        reason = report["cuda"].get("error", "CUDA lists none")
        missing.append(
            {"what": f"no GPU here ({reason})", "fix": "run this on the device that will run the engine"}
        )
    if "error" in report[library]:
        fix = "pip install '.[rtx]'" if library == "tensorrt_rtx" else "pip install tensorrt"
        if report["board"]["l4t"] is not None and library == "tensorrt":
            # apt's module is seen by the system's Python alone
            fix = "sudo apt-get install python3-libnvinfer && python3 -m venv --system-site-packages .venv"
        missing.append({"what": f"Python's {library}: {report[library]['error']}", "fix": fix})
    if "CUDA binding" in report["binding"].get("error", ""):
        major = (report["cuda_toolkit"] or report["cuda"].get("driver") or "12").split(".")[0]
        missing.append({"what": report["binding"]["error"], "fix": f"pip install 'cuda-bindings=={major}.*'"})
    if report["agree"] is False and library == "tensorrt":
        what = f"trtexec is {report['trtexec']['version']}, Python's TensorRT {report['tensorrt']['version']}"
        missing.append({"what": what, "fix": "build with --builder python, or install one version of both"})
    return missing


def _of_memory(
    report: Mapping[str, Any], expected: Mapping[str, int], path: Path
) -> list[dict[str, str | None]]:
    memory = report["memory_gib"]
    if memory["available"] is None:
        return []
    free = int((memory["available"] + (memory["swap_free"] or 0)) * GIB_MIB)
    if free >= expected["build_at_most"]:
        return []
    least = expected["build_at_most"] - WORKSPACE_MIB
    what = f"a build may need {expected['build_at_most']} MiB, {free} MiB of memory and swap are free"
    if free - least >= 256:
        return [{"what": what, "fix": shlex.join([*BUILD, str(path), "--workspace", str(free - least)])}]
    add = "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"
    return [{"what": what, "fix": add}]


def _of_disk(path: Path, weights_mib: int) -> list[dict[str, str | None]]:
    free = shutil.disk_usage(path.parent).free // MIB
    # the finished engine, and the one that is being written
    if free >= 2 * weights_mib:
        return []
    return [
        {
            "what": f"{path.parent}: {free} MiB free, an engine needs {2 * weights_mib}",
            "fix": "free its disk, or give --out",
        }
    ]


def _answer(
    path: Path,
    missing: list[dict[str, str | None]],
    *,
    engine: dict[str, Any] | None = None,
    expected: dict[str, int] | None = None,
    well: str = "an engine can be built and run here",
) -> dict[str, Any]:
    why = "; ".join(str(one["what"]) for one in missing)
    return {
        "path": str(path),
        "ok": not missing,
        "why": why or well,
        "engine": engine,
        "expected_memory_mib": expected,
        "missing": missing,
    }


def _split(reason: str) -> dict[str, str | None]:
    """A refusal as what is wrong and, behind its last semicolon, what to run."""
    what, _, fix = reason.rpartition("; ")
    # "rebuild: python -m engines build ..."
    return {"what": what or fix, "fix": re.sub(r"^[a-z ]+: ", "", fix) if what else None}


def _numbers(version: str) -> Version:
    """`10.3.0.26.post1` -> (10, 3, 0, 26)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])
