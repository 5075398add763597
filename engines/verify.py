"""Verify an engine on the machine that runs it: run its quality gate, and write the verdict into its manifest.

An engine that trtexec built without this project has no manifest; it gets one.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.machine import Machine, this_machine
from engines.manifest import FLAVOURS, differences, inherited
from engines.trtexec.command import input_shapes, input_spec
from runtime.backends.tensorrt.compat import rebuild_command
from runtime.checks.check_crops import Check, judge, load_check
from runtime.console import note
from runtime.errors import ArtifactError, DeviceError, GateError
from runtime.files.manifest import manifest_path, read_manifest, sha256, tools, write_manifest
from runtime.gate import LIMITS, Limits
from runtime.session import Session
from runtime.spec import InputSpec

# An FP32 engine has the limits of FP16, because TensorRT by default multiplies FP32 in TF32, whose mantissa is as short as FP16's.
ENGINE_LIMITS = LIMITS | {"fp32": LIMITS["fp16"]}
BATCH = 32

Opener = Callable[..., Session]
Host = Callable[[str], Machine]


@dataclass(frozen=True)
class AssumedBuild:
    """The user's statements about an engine that has no manifest.

    `builder` is what built it: "trtexec", "python" or "rtx". `precision` None means the precision of its ONNX file.
    `version_compatible` says whether it was built to run with later TensorRT versions of the same major version, too.
    """

    builder: str = "trtexec"
    precision: str | None = None
    version_compatible: bool = False


def verify(
    engine: Path, onnx: Path, assumed: AssumedBuild, *, opener: Opener | None = None, host: Host | None = None
) -> dict[str, Any]:
    """Run the quality gate on `engine`, and write and return the engine's manifest with the verdict.

    The gate runs the engine on the check crops, which the export saved beside `onnx`, such as in model.onnx.check.npz. `assumed` is
    used only if the engine has no manifest. `opener(path, spec, flavour=, manifest=)` opens the engine as a session (None:
    `open_engine`), and `host(flavour)` describes this machine (None: `this_host`). The `flavour` is "tensorrt" or "tensorrt_rtx".

    Raises GateError if the gate fails: then the engine is kept, its manifest records the failure, and the runtime refuses the engine.
    Raises ArtifactError if a file is missing or changed, or belongs to another model or machine; then nothing is loaded or written.
    """
    parent = read_manifest(onnx)
    spec = input_spec(parent, str(onnx))
    check = load_check(onnx, parent)
    content = manifest_of_build(engine, onnx) or _new_manifest(engine, onnx, parent, assumed)
    digest = sha256(engine)
    flavour = FLAVOURS.get(str(content["builder"].get("name")), "tensorrt")
    here = (host or this_host)(flavour)
    content.setdefault("machine", dataclasses.asdict(here))
    if mismatches := differences(content, here, parent=parent, engine=engine):
        raise ArtifactError(f"{engine}: {' | '.join(mismatches)}")
    limits = _limits(engine, content)
    with ExitStack() as stack:
        session = (opener or open_engine)(engine, spec, flavour=flavour, manifest=content)
        if close := getattr(session, "close", None):
            stack.callback(close)
        verdict = _verdict(check, session, spec, limits)
        content.setdefault("shapes", _shapes(spec, session))
    # this hash was computed before the run, so an engine that was replaced during the run does not match it
    manifest = write_manifest(engine, content | {"sha256": digest, "gate": verdict, "tools": tools("numpy")})
    if not verdict["passed"]:
        raise GateError(
            f"{engine}: {'; '.join(verdict['failures'])}; its manifest records the failure and the runtime refuses the engine; "
            "build an engine from an ONNX file of higher precision"
        )
    return manifest


def _verdict(check: Check, session: Session, spec: InputSpec, limits: Limits) -> dict[str, Any]:
    """Return the verdict of the gate, run at several batch sizes: the first verdict that fails, or the last one.

    The batch sizes are BATCH and the smallest and largest one of every engine and profile in the session.
    """
    batches = sorted({*getattr(session, "ends", ()), BATCH})
    for batch in batches:
        verdict = judge(check, session, spec, limits, batch=batch)
        if not verdict["passed"]:
            verdict["failures"] = [f"at batch {batch}: {failure}" for failure in verdict["failures"]]
            break
    return verdict | {"batches": batches}


def _limits(engine: Path, content: Mapping[str, Any]) -> Limits:
    precision = content.get("precision")
    if not isinstance(precision, str) or precision not in ENGINE_LIMITS:
        raise ArtifactError(
            f"{engine}: the precision {precision!r} is not known; export the model and build the engine again"
        )
    return ENGINE_LIMITS[precision]


def manifest_of_build(engine: Path, onnx: Path) -> dict[str, Any] | None:
    """Return the manifest beside the engine, without the keys `schema` and `host`; None if the engine has no manifest.

    `onnx` is the ONNX file of the engine; the command in an error names it. Raises ArtifactError if the engine is missing or has
    changed, or if the manifest does not say how the engine was built.
    """
    if not engine.is_file():
        words = ["python", "-m", "engines", "build", str(onnx), "--out", str(engine)]
        raise ArtifactError(f"{engine}: there is no such file; build it with: {shlex.join(words)}")
    sidecar = manifest_path(engine)
    if not sidecar.exists():
        return None
    manifest = read_manifest(engine, verify=False)
    if sha256(engine) != manifest.get("sha256"):
        raise ArtifactError(
            f"{engine}: the engine has changed since its manifest was written (sha256 differs); rebuild: "
            f"{rebuild_command(manifest, engine)}, or, if trtexec has just rebuilt it, remove {sidecar} and verify again"
        )
    if not isinstance(manifest.get("builder"), dict):
        raise ArtifactError(
            f"{sidecar}: the manifest is incomplete, because it does not say how the engine was built; rebuild: "
            f"{rebuild_command(manifest, engine)}"
        )
    # `write_manifest` adds these two again
    return {key: value for key, value in manifest.items() if key not in ("schema", "host")}


def _new_manifest(
    engine: Path, onnx: Path, parent: Mapping[str, Any], assumed: AssumedBuild
) -> dict[str, Any]:
    note(
        f"{engine}: the engine has no manifest; it is assumed that {assumed.builder} built it from {onnx} on this machine"
    )
    content = inherited(parent)
    content["builder"] = {
        "name": assumed.builder,
        "adopted": True,
        "onnx": onnx.name,
        "engine": engine.name,
        "version_compatible": assumed.version_compatible,
    }
    return content | ({"precision": assumed.precision} if assumed.precision else {})


def _shapes(spec: InputSpec, session: Session) -> list[dict[str, Any]]:
    """Return the input shapes at the smallest and largest batch of the opened engine; [] if the session does not know them."""
    batches = getattr(session, "batches", ())
    if not batches:
        return []
    return [{"min": input_shapes(spec, min(batches)), "max": input_shapes(spec, max(batches))}]


def open_engine(path: Path, spec: InputSpec, *, flavour: str, manifest: Mapping[str, Any]) -> Session:
    """Open the engine at `path` as a session with the library `flavour`, "tensorrt" or "tensorrt_rtx".

    `spec` is the input of the model, and `manifest` is that of the engine.
    """
    from runtime.backends.tensorrt.session import open_tensorrt

    return open_tensorrt(path, spec, flavour=flavour, manifest=manifest)


def this_host(flavour: str) -> Machine:
    """Return the Machine that runs the engine: this machine, with CUDA device 0 and the installed version of the library `flavour`.

    `flavour` is the Python library "tensorrt" or "tensorrt_rtx". Raises DeviceError if the device or the library is missing.
    """
    from engines.probe import run_probe

    # the probes run in child processes: a broken driver or library must not end this one
    gpu, library = run_probe("binding"), run_probe(flavour)
    if "error" in gpu:
        raise DeviceError(gpu["error"])
    if "error" in library:
        raise DeviceError(f"{flavour}: {library['error']}; see: python -m engines doctor")
    return this_machine(
        tensorrt=library["version"], compute_capability=gpu["compute_capability"], gpu=gpu["gpu"]
    )
