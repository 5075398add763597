"""Make the manifest of an engine, and decide from it whether a machine can load the engine. Imports no TensorRT library."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.machine import Machine
from engines.trtexec.command import BuildRequest, input_shapes, profiles_of
from runtime.backends.tensorrt.compat import differences as machine_differences
from runtime.backends.tensorrt.compat import rebuild_command, siblings
from runtime.backends.tensorrt.gpu import Gpu
from runtime.errors import ArtifactError
from runtime.files.manifest import manifest_path, read_manifest, sha256, tools
from runtime.spec import InputSpec

# {builder: the library that loads its engines}
FLAVOURS = {"trtexec": "tensorrt", "python": "tensorrt", "rtx": "tensorrt_rtx"}
UNVERIFIED = {"passed": None}


def engine_manifest(
    parent: Mapping[str, Any],
    machine: Machine,
    request: BuildRequest,
    settings: Sequence[str],
    *,
    builder: str = "trtexec",
    compute_capability: str | None = None,
) -> dict[str, Any]:
    """Return the manifest of a new engine, a dict of JSON values.

    `parent` is the manifest of the ONNX file, `machine` describes the machine that the engine is built for, and `request` are the
    options of the build. `settings` are trtexec's flags or the library's settings. `builder` is a key of FLAVOURS: "trtexec", "python"
    or "rtx". `compute_capability` names the GPUs for which TensorRT-RTX was told to build ahead of time, such as "8.6"; None for all
    other builds. In the result, `gate.passed` is None, because a new engine is unverified until `engines verify` passes.
    """
    spec = InputSpec.from_json(parent["input"], f"{request.onnx}.json")
    shapes = [
        {bound: input_shapes(spec, size) for bound, size in profile._asdict().items()}
        for profile in profiles_of(spec, request.profiles)
    ]
    others = [
        {"file": path.name, "sha256": sha256(path), "batch": list(profile)}
        for path, profile in request.others
    ]
    return (
        inherited(parent)
        | ({"others": others} if others else {})
        | {
            "machine": dataclasses.asdict(machine),
            "shapes": shapes,
            "builder": _builder(request, settings, builder, compute_capability),
            "gate": UNVERIFIED,
            "tools": tools("numpy"),
        }
    )


def inherited(parent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of an engine's manifest that come from `parent`, the manifest of its ONNX file."""
    return {
        "kind": "engine",
        "parent": parent["sha256"],
        "precision": parent.get("precision", "fp32"),
        "target": parent.get("target", "onnxruntime"),
        "input": parent["input"],
        "output": parent["output"],
        "parent_gate": parent.get("gate"),
        "check": parent.get("check"),
    }


def _builder(
    request: BuildRequest, settings: Sequence[str], name: str, compute_capability: str | None
) -> dict[str, Any]:
    """Return the options that are needed to repeat the build. File names are recorded without their folders."""
    paths = ("--onnx=", "--saveEngine=", "--timingCacheFile=")
    cache = request.timing_cache
    return {
        "name": name,
        "onnx": request.onnx.name,
        "engine": request.engine.name,
        "profiles": [list(profile) for profile in request.profiles],
        "workspace_mib": request.workspace_mib,
        "level": request.level,
        "version_compatible": request.version_compatible,
        "compute_capability": compute_capability,
        "timing_cache": cache.name if cache is not None else None,
        "timing_cache_sha256": sha256(cache) if cache is not None and cache.is_file() else None,
        "flags": [setting for setting in settings if not setting.startswith(paths)],
    }


def preflight(engine: Path, host: Machine) -> list[str]:
    """Return the reasons why the machine `host` cannot load `engine`, from the engine's manifest; [] if there are none.

    Loading an engine runs native code, so call this before. It checks whether the manifest exists, whether the machine and the
    TensorRT version are those of the build, and whether the engine passed its quality gate. It also checks that the engines for
    other batch sizes, which the manifest lists, exist unchanged. Each reason names the command that can remove it. Raises
    ArtifactError if the engine's hash differs from that in the manifest, or if the manifest cannot be used.
    """
    if engine.is_file() and not manifest_path(engine).exists():
        return [f"the engine has no manifest; run: {_verify_command(engine, 'MODEL.onnx')}"]
    manifest = read_manifest(engine, verify=False)
    if sha256(engine) != manifest.get("sha256"):
        raise ArtifactError(
            f"the engine has changed since its manifest was written (sha256 differs); rebuild: {rebuild_command(manifest, engine)}"
        )
    reasons = differences(manifest, host, engine=engine)
    try:
        siblings(engine, manifest)
    except ArtifactError as error:
        reasons.append(str(error))
    gate = manifest.get("gate")
    passed = gate.get("passed") if isinstance(gate, dict) else None
    if passed is not True:
        verdict = "has not passed its quality gate yet" if passed is None else "FAILED its quality gate"
        onnx = str(manifest["builder"].get("onnx", "MODEL.onnx"))
        reasons.append(f"the engine {verdict}; run: {_verify_command(engine, onnx)}")
    return reasons


def _verify_command(engine: Path, onnx: str) -> str:
    return shlex.join(["python", "-m", "engines", "verify", str(engine), "--onnx", onnx])


def differences(
    manifest: Mapping[str, Any],
    host: Machine,
    *,
    parent: Mapping[str, Any] | None = None,
    engine: Path | None = None,
) -> list[str]:
    """Return the differences between an engine's manifest and the machine `host`; [] if there are none.

    The compared properties of the machine are the TensorRT version, compute capability, GPU, operating system, processor and L4T.
    With `parent`, the manifest of an ONNX file, it is also a difference if the engine was built from another ONNX file; this entry
    says how the precision, input and output of the engine differ from those of the ONNX file. Each entry names a difference and the
    command that rebuilds the engine at the path `engine` (None: in the current folder). Raises ArtifactError if the manifest is
    incomplete or is not that of an engine.
    """
    built = _built_for(manifest)
    rtx = manifest["builder"].get("name") == "rtx"
    gpu = Gpu(host.gpu or "none", host.compute_capability or "none")
    compared = machine_differences(
        manifest, tensorrt=host.tensorrt or "none", gpu=gpu, l4t=host.l4t, portable=rtx
    )
    # a property that is not known on the host is in both lists
    unequal = list(dict.fromkeys([*_unknown(built, host, portable=rtx), *compared]))
    if parent is not None:
        unequal += _other_model(manifest, parent)
    return [f"{difference}; rebuild: {rebuild_command(manifest, engine)}" for difference in unequal]


def _built_for(manifest: Mapping[str, Any]) -> Machine:
    try:
        if manifest["kind"] != "engine":
            raise ArtifactError(
                f"the manifest has kind {manifest['kind']!r}, not 'engine'; build an engine: {rebuild_command({})}"
            )
        if not isinstance(manifest["builder"], dict):
            raise TypeError("builder")
        return Machine(**manifest["machine"])
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"the engine's manifest is incomplete ({error}); rebuild: {rebuild_command(manifest)}"
        ) from None


def _unknown(built: Machine, host: Machine, *, portable: bool) -> list[str]:
    """Return a difference for each property of TensorRT and the GPU that is unknown in the manifest or on the host.

    An unknown property never counts as equal.
    """
    properties = [("TensorRT", built.tensorrt, host.tensorrt)]
    if not portable:
        properties += [
            ("compute capability", built.compute_capability, host.compute_capability),
            ("GPU", built.gpu, host.gpu),
        ]
    return [_difference(label, before, here) for label, before, here in properties if None in (before, here)]


def _other_model(manifest: Mapping[str, Any], parent: Mapping[str, Any]) -> list[str]:
    """Return one entry on how the ONNX file of `parent` differs from that from which the engine was built; [] if it does not."""
    if manifest.get("parent") == parent["sha256"]:
        return []
    parts = [
        f"built from another ONNX file ({str(manifest.get('parent'))[:12]}, this one is {parent['sha256'][:12]})"
    ]
    for key in ("precision", "output"):
        if manifest.get(key) != parent.get(key):
            parts.append(f"the engine's {key} is {manifest.get(key)}, the ONNX file's is {parent.get(key)}")
    engine_input, onnx_input = manifest.get("input") or {}, parent.get("input") or {}
    parts += [
        f"the engine's input {key} is {engine_input.get(key)}, the ONNX file's is {onnx_input.get(key)}"
        for key in sorted({*engine_input, *onnx_input})
        if engine_input.get(key) != onnx_input.get(key)
    ]
    return ["; ".join(parts)]


def _difference(label: str, built: str | None, here: str | None) -> str:
    return f"built for {label} {built or 'unknown'}, here {here or 'none'}"
