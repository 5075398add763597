"""Build an engine by any of the builders, under the lock of its folder: the whole file with its manifest, or nothing."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from engines.machine import Machine, this_machine
from engines.manifest import FLAVOURS, engine_manifest
from engines.trtexec.command import Build, Profile, input_spec, profiles_of, trtexec_line, version_text
from engines.trtexec.output import Report
from engines.trtexec.run import build as run_trtexec
from engines.trtexec.run import find_trtexec, locked, trtexec_version
from runtime.backends.tensorrt.compat import batch_text
from runtime.console import note
from runtime.errors import ConfigError, DeviceError
from runtime.files.manifest import replacing, write_manifest
from runtime.stopping import deferred, terminable


def choose_builder(asked: str | None) -> str:
    """`asked`, or what this machine has: trtexec, else Python's TensorRT. DeviceError where it has neither."""
    if asked is not None:
        return asked
    try:
        find_trtexec()
    except DeviceError as error:
        from engines.probe import ask

        if "error" in ask("tensorrt"):
            raise DeviceError(
                f"{error}; Python's tensorrt is not there either, see: python -m engines doctor"
            ) from None
        return "python"
    return "trtexec"


def separate(asked: Build) -> list[Build]:
    """One build for each of the profiles of `asked`: the largest, last, into the file asked for, the others beside it.

    ConfigError for fewer than two profiles.
    """
    profiles = sorted(set(asked.profiles), key=lambda profile: profile[::-1])
    if len(profiles) < 2:
        raise ConfigError("--separate: give --batch at least twice, such as --batch 1 --batch 8 --batch 32")
    *smaller, largest = profiles
    others = [
        dataclasses.replace(asked, engine=_engine_of(asked.engine, profile), profiles=(profile,))
        for profile in smaller
    ]
    return [*others, dataclasses.replace(asked, profiles=(largest,))]


def _engine_of(engine: Path, profile: Profile) -> Path:
    """`m.engine` -> `m.b8.engine`, or `m.b1-4-8.engine`."""
    return engine.with_suffix(f".b{batch_text(profile).replace(',', '-')}{engine.suffix}")


def build_with_trtexec(
    asked: Build, parent: dict[str, Any], *, log: Path | None = None
) -> tuple[dict[str, Any], Report]:
    """Build `asked` with this machine's trtexec: (the manifest as written beside the engine, what trtexec reported)."""
    trtexec = find_trtexec()
    version = trtexec_version(trtexec)
    # every refusal that needs no GPU comes before the wait for the lock
    line = trtexec_line(parent, version, asked)
    note(f"building {asked.engine} with TensorRT {version_text(version)}; this takes minutes")

    def line_for(engine: Path) -> list[str]:
        return trtexec_line(parent, version, dataclasses.replace(asked, engine=engine))

    with locked(asked.engine) as lock, ExitStack() as committing:
        report = run_trtexec(trtexec, line_for, asked.engine, lock=lock, log=log, committing=committing)
        content = engine_manifest(parent, _machine(report), asked, line[1:])
        if asked.timed:
            content["timing"] = dataclasses.asdict(report) | {"batch": _timed_batch(parent, asked)}
        return write_manifest(asked.engine, content), report


def build_in_python(
    asked: Build, parent: dict[str, Any], *, builder: str, compute_capability: str | None = None
) -> dict[str, Any]:
    """Build `asked` with the TensorRT library of `builder`, python or rtx: the manifest as written beside the engine."""
    from engines.python import builders

    flavour = FLAVOURS[builder]
    note(f"building {asked.engine} with {flavour}; this takes minutes")
    with locked(asked.engine), terminable(), ExitStack() as committing:
        with replacing(asked.engine) as temporary:
            built = builders.build(
                asked,
                parent,
                flavour=flavour,
                compute_capability=compute_capability,
                engine=temporary,
            )
            committing.enter_context(deferred())
        for warning in built.warnings:
            note(warning)
        content = engine_manifest(
            parent,
            built.machine,
            asked,
            built.settings,
            builder=builder,
            compute_capability=compute_capability,
        )
        content["built"] = {
            "seconds": round(built.seconds, 1),
            "peak_mib": built.peak_mib,
            "bytes": built.bytes,
            "fused_attention_strings": built.fused_attention_strings,
        }
        return write_manifest(asked.engine, content)


def _timed_batch(parent: dict[str, Any], asked: Build) -> int:
    return profiles_of(input_spec(parent, str(asked.onnx)), asked.profiles)[0].opt


def _machine(report: Report) -> Machine:
    tensorrt = None if report.version is None else version_text(report.version)
    return this_machine(tensorrt=tensorrt, compute_capability=report.compute_capability, gpu=report.gpu)
