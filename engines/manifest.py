"""An engine's manifest, and whether this machine may load that engine. Knows no TensorRT library."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.machine import Machine
from engines.trtexec.command import Build, input_shapes, profiles_of
from runtime.backends.tensorrt.compat import differences as machine_differences
from runtime.backends.tensorrt.compat import rebuild_command, siblings
from runtime.backends.tensorrt.gpu import Gpu
from runtime.errors import ArtifactError
from runtime.files.manifest import manifest_path, read_manifest, sha256, tools
from runtime.spec import InputSpec

# builder -> the library that loads what it built
FLAVOURS = {"trtexec": "tensorrt", "python": "tensorrt", "rtx": "tensorrt_rtx"}
UNPROVED = {"passed": None}


def engine_manifest(
    parent: Mapping[str, Any],
    machine: Machine,
    build: Build,
    words: Sequence[str],
    *,
    builder: str = "trtexec",
    compute_capability: str | None = None,
) -> dict[str, Any]:
    """What the manifest of a fresh engine says; `parent` is the ONNX file's manifest, `words` describe the build.

    `compute_capability` is what an ahead-of-time build was asked for. `gate.passed` is null: an engine has proved nothing until
    it ran the check crops that travel with the ONNX file.
    """
    spec = InputSpec.from_json(parent["input"], f"{build.onnx}.json")
    shapes = [
        {bound: input_shapes(spec, size) for bound, size in profile._asdict().items()}
        for profile in profiles_of(spec, build.profiles)
    ]
    others = [
        {"file": path.name, "sha256": sha256(path), "batch": list(profile)} for path, profile in build.others
    ]
    return (
        inherited(parent)
        | ({"others": others} if others else {})
        | {
            "machine": dataclasses.asdict(machine),
            "shapes": shapes,
            "builder": _builder(build, words, builder, compute_capability),
            "gate": UNPROVED,
            "tools": tools("numpy"),
        }
    )


def inherited(parent: Mapping[str, Any]) -> dict[str, Any]:
    """What every engine's manifest takes from the manifest of its ONNX file."""
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


def _builder(build: Build, words: Sequence[str], name: str, compute_capability: str | None) -> dict[str, Any]:
    """Everything the build can be repeated from, without the folders of the machine that did it."""
    paths = ("--onnx=", "--saveEngine=", "--timingCacheFile=")
    cache = build.timing_cache
    return {
        "name": name,
        "onnx": build.onnx.name,
        "engine": build.engine.name,
        "profiles": [list(profile) for profile in build.profiles],
        "workspace_mib": build.workspace_mib,
        "level": build.level,
        "version_compatible": build.version_compatible,
        "compute_capability": compute_capability,
        "timing_cache": cache.name if cache is not None else None,
        "timing_cache_sha256": sha256(cache) if cache is not None and cache.is_file() else None,
        "flags": [word for word in words if not word.startswith(paths)],
    }


def preflight(engine: Path, host: Machine) -> list[str]:
    """Why the engine at `engine` must not be loaded on `host`, by its manifest alone; [] when nothing speaks against it.

    Deserialising a plan runs native code, so all of it comes first: the file's hash, `differences`, the gate. Each entry names
    what to run next. ArtifactError only where that hash or the manifest itself does not hold.
    """
    if engine.is_file() and not manifest_path(engine).exists():
        return [f"it has no manifest; run: {_verify_command(engine, 'MODEL.onnx')}"]
    manifest = read_manifest(engine, verify=False)
    if sha256(engine) != manifest.get("sha256"):
        raise ArtifactError(
            f"changed since its manifest was written (sha256 differs); rebuild: {rebuild_command(manifest, engine)}"
        )
    found = differences(manifest, host, engine=engine)
    try:
        siblings(engine, manifest)
    except ArtifactError as error:
        found.append(str(error))
    gate = manifest.get("gate")
    passed = gate.get("passed") if isinstance(gate, dict) else None
    if passed is not True:
        state = "never passed" if passed is None else "FAILED"
        onnx = str(manifest["builder"].get("onnx", "MODEL.onnx"))
        found.append(f"it {state} its quality gate; run: {_verify_command(engine, onnx)}")
    return found


def _verify_command(engine: Path, onnx: str) -> str:
    return shlex.join(["python", "-m", "engines", "verify", str(engine), "--onnx", onnx])


def differences(
    manifest: Mapping[str, Any],
    host: Machine,
    *,
    parent: Mapping[str, Any] | None = None,
    engine: Path | None = None,
) -> list[str]:
    """How an engine's manifest differs from `host` and from `parent`, the manifest of its ONNX file; [] when it fits.

    Compared are TensorRT version, compute capability, GPU, operating system, processor and L4T, then parent, precision, input,
    output and shapes. Each entry names the difference and the command that rebuilds, `engine` where that is given. ArtifactError
    when the manifest is no engine's or incomplete.
    """
    built = _built_for(manifest)
    rtx = manifest["builder"].get("name") == "rtx"
    gpu = Gpu(host.gpu or "none", host.compute_capability or "none")
    compared = machine_differences(
        manifest, tensorrt=host.tensorrt or "none", gpu=gpu, l4t=host.l4t, portable=rtx
    )
    # both see a fact that the host lacks
    found = list(dict.fromkeys([*_unknown(built, host, portable=rtx), *compared]))
    if parent is not None:
        found += _other_model(manifest, parent)
    return [f"{difference}; rebuild: {rebuild_command(manifest, engine)}" for difference in found]


def _built_for(manifest: Mapping[str, Any]) -> Machine:
    try:
        if manifest["kind"] != "engine":
            raise ArtifactError(
                f"a manifest of kind {manifest['kind']!r}, not an engine's; build one: {rebuild_command({})}"
            )
        if not isinstance(manifest["builder"], dict):
            raise TypeError("builder")
        return Machine(**manifest["machine"])
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"the engine's manifest is incomplete ({error}); rebuild: {rebuild_command(manifest)}"
        ) from None


def _unknown(built: Machine, host: Machine, *, portable: bool) -> list[str]:
    """What either side does not say of TensorRT and GPU: an engine is loaded on knowledge, never on its absence."""
    facts = [("TensorRT", built.tensorrt, host.tensorrt)]
    if not portable:
        facts += [
            ("compute capability", built.compute_capability, host.compute_capability),
            ("GPU", built.gpu, host.gpu),
        ]
    return [_difference(label, before, here) for label, before, here in facts if None in (before, here)]


def _other_model(manifest: Mapping[str, Any], parent: Mapping[str, Any]) -> list[str]:
    """How the ONNX file beside the engine is not the one it was built from, in fields where only fields differ."""
    if manifest.get("parent") == parent["sha256"]:
        return []
    found = [
        f"built from another ONNX file ({str(manifest.get('parent'))[:12]}, this is {parent['sha256'][:12]})"
    ]
    for key in ("precision", "output"):
        if manifest.get(key) != parent.get(key):
            found.append(f"its {key} is {manifest.get(key)}, the ONNX file's {parent.get(key)}")
    inputs, here = manifest.get("input") or {}, parent.get("input") or {}
    found += [
        f"its input {key} is {inputs.get(key)}, the ONNX file's {here.get(key)}"
        for key in sorted({*inputs, *here})
        if inputs.get(key) != here.get(key)
    ]
    return ["; ".join(found)]


def _difference(label: str, built: str | None, here: str | None) -> str:
    return f"built for {label} {built or 'unknown'}, here {here or 'none'}"
