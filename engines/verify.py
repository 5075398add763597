"""`python -m engines verify`: prove an engine where it stands, also one that bare trtexec built, and write its manifest."""

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
from runtime.check import Check, judge, load_check
from runtime.console import note
from runtime.errors import ArtifactError, DeviceError, GateError
from runtime.files.manifest import manifest_path, read_manifest, sha256, tools, write_manifest
from runtime.gate import LIMITS, Limits
from runtime.session import Session
from runtime.spec import InputSpec

# TensorRT multiplies FP32 in TF32 by default, whose mantissa is FP16's.
ENGINE_LIMITS = LIMITS | {"fp32": LIMITS["fp16"]}
BATCH = 32

Opener = Callable[..., Session]
Host = Callable[[str], Machine]


@dataclass(frozen=True)
class Adopted:
    """What nobody wrote down of an engine without a manifest: `builder` a key of FLAVOURS; `precision` None: its ONNX file's."""

    builder: str = "trtexec"
    precision: str | None = None
    version_compatible: bool = False


def verify(
    engine: Path, onnx: Path, adopted: Adopted, *, opener: Opener | None = None, host: Host | None = None
) -> dict[str, Any]:
    """Run the gate on `engine` with the check crops beside `onnx`; the engine's manifest with the verdict, as written.

    `opener(path, spec, flavour=, manifest=)` gives the session, `host(flavour)` this machine; both default to the real ones.
    GateError when the gate fails: the engine stays, its manifest says so and the runtime refuses it. ArtifactError when a file
    is missing, changed or of another model or machine; then nothing is loaded and nothing written.
    """
    parent = read_manifest(onnx)
    spec = input_spec(parent, str(onnx))
    check = load_check(onnx, parent)
    content = _known(engine, onnx) or _adopted(engine, onnx, parent, adopted)
    digest = sha256(engine)
    flavour = FLAVOURS.get(str(content["builder"].get("name")), "tensorrt")
    here = (host or this_host)(flavour)
    content.setdefault("machine", dataclasses.asdict(here))
    if found := differences(content, here, parent=parent, engine=engine):
        raise ArtifactError(f"{engine}: {' | '.join(found)}")
    limits = _limits(engine, content)
    with ExitStack() as stack:
        session = (opener or open_engine)(engine, spec, flavour=flavour, manifest=content)
        if close := getattr(session, "close", None):
            stack.callback(close)
        verdict = _verdict(check, session, spec, limits)
        content.setdefault("shapes", _shapes(spec, session))
    # the hash from before the run: an engine exchanged meanwhile does not match it
    manifest = write_manifest(engine, content | {"sha256": digest, "gate": verdict, "tools": tools("numpy")})
    if not verdict["passed"]:
        raise GateError(
            f"{engine}: {'; '.join(verdict['failures'])}; its manifest says so and the runtime refuses it; "
            "build it from a file of higher precision"
        )
    return manifest


def _verdict(check: Check, session: Session, spec: InputSpec, limits: Limits) -> dict[str, Any]:
    """The gate at the smallest and largest batch of every engine and profile of the session: the first that fails, else the last."""
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
        raise ArtifactError(f"{engine}: precision {precision!r} is not known; export and build again")
    return ENGINE_LIMITS[precision]


def _known(engine: Path, onnx: Path) -> dict[str, Any] | None:
    """The manifest that a build left beside the engine, None where bare trtexec left none."""
    if not engine.is_file():
        words = ["python", "-m", "engines", "build", str(onnx), "--out", str(engine)]
        raise ArtifactError(f"{engine}: no such file; build it with: {shlex.join(words)}")
    sidecar = manifest_path(engine)
    if not sidecar.exists():
        return None
    manifest = read_manifest(engine, verify=False)
    if sha256(engine) != manifest.get("sha256"):
        raise ArtifactError(
            f"{engine}: changed since its manifest was written (sha256 differs); rebuild: {rebuild_command(manifest, engine)}, or, "
            f"if trtexec just did, remove {sidecar} and verify again"
        )
    if not isinstance(manifest.get("builder"), dict):
        raise ArtifactError(
            f"{sidecar}: incomplete, it does not say how the engine was built; rebuild: {rebuild_command(manifest, engine)}"
        )
    # said anew by whoever writes it
    return {key: value for key, value in manifest.items() if key not in ("schema", "host")}


def _adopted(engine: Path, onnx: Path, parent: Mapping[str, Any], adopted: Adopted) -> dict[str, Any]:
    note(f"{engine}: has no manifest; taken for a build of {onnx} by {adopted.builder} on this very machine")
    content = inherited(parent)
    content["builder"] = {
        "name": adopted.builder,
        "adopted": True,
        "onnx": onnx.name,
        "engine": engine.name,
        "version_compatible": adopted.version_compatible,
    }
    return content | ({"precision": adopted.precision} if adopted.precision else {})


def _shapes(spec: InputSpec, session: Session) -> list[dict[str, Any]]:
    """The smallest and largest batch that the opened engine says it takes; [] when it does not say."""
    batches = getattr(session, "batches", ())
    if not batches:
        return []
    return [{"min": input_shapes(spec, min(batches)), "max": input_shapes(spec, max(batches))}]


def open_engine(path: Path, spec: InputSpec, *, flavour: str, manifest: Mapping[str, Any]) -> Session:
    """The real opener, imported where it is needed."""
    from runtime.backends.tensorrt.session import open_tensorrt

    return open_tensorrt(path, spec, flavour=flavour, manifest=manifest)


def this_host(flavour: str) -> Machine:
    """This machine as sessions see it: CUDA device 0 and Python's TensorRT; DeviceError where either is missing."""
    from engines.probe import ask

    # in child processes: a broken driver or library must not take this one with it
    gpu, library = ask("binding"), ask(flavour)
    if "error" in gpu:
        raise DeviceError(gpu["error"])
    if "error" in library:
        raise DeviceError(f"{flavour}: {library['error']}; see: python -m engines doctor")
    return this_machine(
        tensorrt=library["version"], compute_capability=gpu["compute_capability"], gpu=gpu["gpu"]
    )
