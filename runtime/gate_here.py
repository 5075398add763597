"""The gate on another kind of processor than the file was exported on: run once there, recorded, and read from then on.

The record lies beside the file, `<file>.gates.json`, and may travel with it. Where that folder cannot be written, it lies in the
user's cache (`$XDG_CACHE_HOME`, else ~/.cache, under reid-edge). Where neither can be written, the gate runs at each opening, and
a warning says so.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from runtime.artifact import Artifact
from runtime.backends.choice import unproven
from runtime.check import judge, load_check
from runtime.errors import ArtifactError, GateError, StorageError
from runtime.files.manifest import replacing, tools
from runtime.gate import engine_limits
from runtime.host.processor import this_kind

SCHEMA = 1


def is_proven(artifact: Artifact) -> bool:
    """Whether there is nothing to run: no gate passed, or it did on this kind of processor, when exported or by a record of later."""
    gate = artifact.manifest.get("gate")
    if not isinstance(gate, dict) or gate.get("passed") is not True:
        return True
    host = artifact.manifest.get("host")
    if isinstance(host, dict) and host.get("processor_kind") == this_kind():
        return True
    return (recorded(artifact.path, artifact.sha256, artifact.engine) or {}).get("passed") is True


def prove(artifact: Artifact, *, allow_failed: bool = False) -> None:
    """Run the opened artifact's gate where `is_proven` says it must, and record the verdict; a recorded failure is not run again.

    GateError where it fails, or with `allow_failed` a warning on stderr; a warning too where the file travels without check crops.
    """
    if is_proven(artifact):
        return
    verdict = recorded(artifact.path, artifact.sha256, artifact.engine)
    if verdict is None:
        try:
            check = load_check(artifact.path, artifact.manifest)
            limits = engine_limits(artifact.manifest.get("precision", ""), artifact.engine or "")
        except ArtifactError as error:
            _say(
                f"WARNING {artifact.path}: passed its gate on another kind of processor, and cannot be judged on this one: {error}"
            )
            return
        _say(
            f"{artifact.path}: its gate passed on another kind of processor, and runs once on this one ({this_kind()})"
        )
        verdict = judge(check, artifact.run, artifact.spec, limits)
        if unwritten := _record(artifact, verdict):
            _say(
                f"WARNING {artifact.path}: the gate's verdict here is kept nowhere, and runs at each opening: {unwritten}"
            )
    if verdict["passed"]:
        return
    text = f"{artifact.path}: fails its gate on this kind of processor ({this_kind()}): {'; '.join(verdict['failures'])}"
    if not allow_failed:
        raise GateError(
            f"{text}; see whether another engine passes: python -m runtime choose {artifact.path}, or add --allow-ungated "
            "to run it anyway"
        )
    _say(f"WARNING {text}; its features are not trustworthy (--allow-ungated)")


def doubt(artifact: Artifact) -> str | None:
    """`runtime.backends.choice.unproven`, but None where the gate here passed on the artifact's engine."""
    verdict = recorded(artifact.path, artifact.sha256, artifact.engine)
    if verdict is not None and verdict["passed"]:
        return None
    return unproven(artifact.path, artifact.sha256, artifact.engine)


def recorded(path: Path, sha256: str, engine: str | None) -> dict[str, Any] | None:
    """The verdict {passed, failures, ...} recorded of this file, engine and its version on this kind of processor; None without."""
    here = _conditions(engine)
    for place in _places(path, sha256):
        for verdict in _gates(place, sha256):
            if here.items() <= verdict.items() and isinstance(verdict.get("passed"), bool):
                failures = verdict.get("failures")
                return verdict | {"failures": failures if isinstance(failures, list) else []}
    return None


def record_path(path: Path) -> Path:
    """`model.onnx` -> `model.onnx.gates.json`."""
    return Path(f"{path}.gates.json")


def _record(artifact: Artifact, verdict: dict[str, Any]) -> str | None:
    """Write the verdict at the first place that can be written; the reason where none can."""
    here, reason = _conditions(artifact.engine), ""
    for place in _places(artifact.path, artifact.sha256):
        others = [one for one in _gates(place, artifact.sha256) if not here.items() <= one.items()]
        document = {"schema": SCHEMA, "model": artifact.sha256, "gates": [*others, verdict | here]}
        try:
            with replacing(place) as temporary:
                temporary.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        except StorageError as error:
            reason = reason or str(error).split(";")[0]
            continue
        except OSError as error:
            reason = reason or f"{place}: {error.strerror or error}"
            continue
        return None
    return reason


def _gates(place: Path, sha256: str) -> list[dict[str, Any]]:
    """What the record at `place` holds of the file with this hash; nothing where it is missing, damaged or of another file."""
    try:
        document = json.loads(place.read_text())
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(document, dict) or (document.get("schema"), document.get("model")) != (SCHEMA, sha256):
        return []
    gates = document.get("gates")
    return [one for one in gates if isinstance(one, dict)] if isinstance(gates, list) else []


def _conditions(engine: str | None) -> dict[str, Any]:
    """What a verdict holds for: kernels come from the processor, the engine and its version."""
    packages = ("openvino",) if (engine or "").startswith("openvino") else ("onnxruntime", "onnxruntime-gpu")
    versions = {name: version for name, version in tools(*packages).items() if name != "python"}
    return {"processor_kind": this_kind(), "engine": engine, "versions": versions}


def _places(path: Path, sha256: str) -> list[Path]:
    places = [record_path(path)]
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        # no home
        return places
    return [*places, Path(cache) / "reid-edge" / f"{sha256}.gates.json"]


def _say(text: str) -> None:
    print(text, file=sys.stderr)
