"""Build an engine with one of the builders: trtexec, Python's TensorRT, or TensorRT-RTX.

A build writes the complete engine and its manifest, or nothing. It holds a lock on the folder of the engine, so that two builds into
one folder run one after the other.
"""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from engines.machine import Machine, this_machine
from engines.manifest import FLAVOURS, engine_manifest
from engines.trtexec.command import BuildRequest, Profile, input_spec, profiles_of, trtexec_line, version_text
from engines.trtexec.output import Report
from engines.trtexec.run import build as run_trtexec
from engines.trtexec.run import find_trtexec, locked, trtexec_version
from runtime.backends.tensorrt.compat import batch_text
from runtime.console import note
from runtime.errors import ConfigError, DeviceError
from runtime.files.manifest import replacing, write_manifest
from runtime.stopping import deferred, terminable


def choose_builder(builder: str | None) -> str:
    """Return the name of the builder to use: `builder` unless it is None, else "trtexec" if it is installed, else "python".

    Raises DeviceError if `builder` is None and this machine has neither trtexec nor Python's TensorRT.
    """
    if builder is not None:
        return builder
    try:
        find_trtexec()
    except DeviceError as error:
        from engines.probe import run_probe

        if "error" in run_probe("tensorrt"):
            raise DeviceError(
                f"{error}; Python's tensorrt is missing too, see: python -m engines doctor"
            ) from None
        return "python"
    return "trtexec"


def separate(request: BuildRequest) -> list[BuildRequest]:
    """Split a request with several profiles into one request for each profile, ordered by the profile's largest batch.

    The last request keeps the file name of the engine, such as `m.engine`. The engines of the others are in the same folder and have
    their batch sizes in the name: `m.b8.engine`, or `m.b1-4-8.engine` for the profile 1,4,8. Raises ConfigError for fewer than two
    different profiles.
    """
    profiles = sorted(set(request.profiles), key=lambda profile: profile[::-1])
    if len(profiles) < 2:
        raise ConfigError("--separate: give --batch at least twice, such as --batch 1 --batch 8 --batch 32")
    *smaller, largest = profiles
    others = [
        dataclasses.replace(request, engine=_engine_of(request.engine, profile), profiles=(profile,))
        for profile in smaller
    ]
    return [*others, dataclasses.replace(request, profiles=(largest,))]


def _engine_of(engine: Path, profile: Profile) -> Path:
    """Return the file of the engine for one profile: `m.engine` -> `m.b8.engine`, or `m.b1-4-8.engine`."""
    return engine.with_suffix(f".b{batch_text(profile).replace(',', '-')}{engine.suffix}")


def build_with_trtexec(
    request: BuildRequest, parent: dict[str, Any], *, log: Path | None = None
) -> tuple[dict[str, Any], Report]:
    """Build an engine with this machine's trtexec, write its manifest, and return (manifest, parsed output of trtexec).

    `parent` is the manifest of the ONNX file. Everything that trtexec prints is written to the file `log` (None: it is not kept).
    Raises the errors of `engines.trtexec.command.trtexec_line` and `engines.trtexec.run.build`.
    """
    trtexec = find_trtexec()
    version = trtexec_version(trtexec)
    # raise every error that needs no GPU before waiting for the lock
    line = trtexec_line(parent, version, request)
    note(f"building {request.engine} with TensorRT {version_text(version)}; this takes minutes")

    def line_for(engine: Path) -> list[str]:
        return trtexec_line(parent, version, dataclasses.replace(request, engine=engine))

    with locked(request.engine) as lock, ExitStack() as committing:
        report = run_trtexec(trtexec, line_for, request.engine, lock=lock, log=log, committing=committing)
        content = engine_manifest(parent, _machine(report), request, line[1:])
        if request.timed:
            content["timing"] = dataclasses.asdict(report) | {"batch": _timed_batch(parent, request)}
        return write_manifest(request.engine, content), report


def build_in_python(
    request: BuildRequest, parent: dict[str, Any], *, builder: str, compute_capability: str | None = None
) -> dict[str, Any]:
    """Build an engine with Python's TensorRT (`builder` "python") or TensorRT-RTX ("rtx"), and write and return its manifest.

    `parent` is the manifest of the ONNX file. `compute_capability` ("8.6", or "8.6,8.9" for several) names the GPUs for which
    TensorRT-RTX builds; None lets the library choose. Raises the errors of `engines.python.builders.build`.
    """
    from engines.python import builders

    flavour = FLAVOURS[builder]
    note(f"building {request.engine} with {flavour}; this takes minutes")
    with locked(request.engine), terminable(), ExitStack() as committing:
        with replacing(request.engine) as temporary:
            result = builders.build(
                request,
                parent,
                flavour=flavour,
                compute_capability=compute_capability,
                engine=temporary,
            )
            committing.enter_context(deferred())
        for warning in result.warnings:
            note(warning)
        content = engine_manifest(
            parent,
            result.machine,
            request,
            result.settings,
            builder=builder,
            compute_capability=compute_capability,
        )
        content["built"] = {
            "seconds": round(result.seconds, 1),
            "peak_mib": result.peak_mib,
            "bytes": result.bytes,
            "fused_attention_strings": result.fused_attention_strings,
        }
        return write_manifest(request.engine, content)


def _timed_batch(parent: dict[str, Any], request: BuildRequest) -> int:
    return profiles_of(input_spec(parent, str(request.onnx)), request.profiles)[0].opt


def _machine(report: Report) -> Machine:
    tensorrt = None if report.version is None else version_text(report.version)
    return this_machine(tensorrt=tensorrt, compute_capability=report.compute_capability, gpu=report.gpu)
