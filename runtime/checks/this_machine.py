"""Run the quality gate of an ONNX file once on each new kind of processor, and record the verdict.

A file that passed its gate on the exporting machine may fail on another kind of processor, whose kernels compute other numbers.

- `needs_proof` says whether the gate must run on this machine.
- `prove` runs the gate and records the verdict.
- `recorded` returns the verdict that an earlier `prove` recorded.
- `doubt` returns a warning if no gate passed here with the chosen backend. The verdict may come from `prove` or from
  `python -m runtime choose`, whose file `runtime.backends.choice` reads.

The record is a file `<model>.gates.json` beside the model, and may be copied with it. If that folder cannot be written, the record
is saved in the user's cache (`$XDG_CACHE_HOME`, else ~/.cache, in the folder reid-edge). If neither can be written, a warning is
printed and the gate runs again at each opening.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from runtime.artifact import Artifact
from runtime.backends.choice import unproven
from runtime.checks.check_crops import judge, load_check
from runtime.errors import ArtifactError, GateError, StorageError
from runtime.files.manifest import replacing, tools
from runtime.gate import backend_limits
from runtime.host.processor import this_kind
from runtime.options.backends import ONNX_BACKENDS

SCHEMA = 1


def needs_proof(artifact: Artifact) -> bool:
    """Return whether the artifact passed its gate on another kind of processor, but is not known to have passed on this kind.

    The manifest names the kind of processor on which the file was exported. The record of `prove` has the later verdicts.
    """
    gate = artifact.manifest.get("gate")
    if not isinstance(gate, dict) or gate.get("passed") is not True:
        # a file that passed nowhere is refused, or allowed with a warning, when it is verified
        return False
    host = artifact.manifest.get("host")
    if isinstance(host, dict) and host.get("processor_kind") == this_kind():
        return False
    verdict = recorded(artifact.path, artifact.sha256, artifact.backend)
    return verdict is None or verdict["passed"] is not True


def prove(artifact: Artifact, *, allow_failed: bool = False) -> None:
    """Run the gate of an opened artifact if `needs_proof(artifact)` is true, and record the verdict.

    If a failure is recorded already, it counts without another run. Raises GateError when the gate fails; with `allow_failed`,
    prints a warning on stderr instead. The gate cannot run without the check crops of the file; then a warning is printed.
    """
    if not needs_proof(artifact):
        return
    verdict = recorded(artifact.path, artifact.sha256, artifact.backend)
    if verdict is None:
        try:
            check = load_check(artifact.path, artifact.manifest)
            limits = backend_limits(artifact.manifest.get("precision", ""), artifact.backend or "")
        except ArtifactError as error:
            _note(
                f"WARNING {artifact.path}: passed its gate on another kind of processor; the gate cannot run on this one: {error}"
            )
            return
        _note(
            f"{artifact.path}: passed its gate on another kind of processor; the gate runs once on this one ({this_kind()})"
        )
        verdict = judge(check, artifact.run, artifact.spec, limits)
        if reason := _record(artifact, verdict):
            _note(
                f"WARNING {artifact.path}: the verdict of the gate cannot be saved, so the gate runs at each opening: {reason}"
            )
    if verdict["passed"]:
        return
    text = f"{artifact.path}: fails its gate on this kind of processor ({this_kind()}): {'; '.join(verdict['failures'])}"
    if not allow_failed:
        raise GateError(
            f"{text}; see whether another backend passes: python -m runtime choose {artifact.path}, or run it "
            "anyway with allow_ungated=True (--allow-ungated)"
        )
    _note(f"WARNING {text}; its features are not trustworthy (allow_ungated=True)")


def doubt(artifact: Artifact) -> str | None:
    """Return a warning if no gate is known to have passed on this machine with the artifact's backend; None if one has passed."""
    verdict = recorded(artifact.path, artifact.sha256, artifact.backend)
    if verdict is not None and verdict["passed"]:
        return None
    return unproven(artifact.path, artifact.sha256, artifact.backend)


def recorded(path: Path, sha256: str, backend: str | None) -> dict[str, Any] | None:
    """Return the verdict {passed, failures, ...} that `prove` recorded for the file at `path`; None if there is no valid one.

    A verdict is valid for the same file (its `sha256`), the same `backend`, the same versions of the backend's packages, and the
    same kind of processor.
    """
    conditions = _conditions(backend)
    for record in _record_paths(path, sha256):
        for verdict in _verdicts(record, sha256):
            if conditions.items() <= verdict.items() and isinstance(verdict.get("passed"), bool):
                failures = verdict.get("failures")
                return verdict | {"failures": failures if isinstance(failures, list) else []}
    return None


def record_path(path: Path) -> Path:
    """Return the path of the record beside a model: `model.onnx` -> `model.onnx.gates.json`."""
    return Path(f"{path}.gates.json")


def _record(artifact: Artifact, verdict: dict[str, Any]) -> str | None:
    """Write the verdict into the first record that can be written; return the reason where none can."""
    conditions, reason = _conditions(artifact.backend), ""
    for record in _record_paths(artifact.path, artifact.sha256):
        others = [
            other for other in _verdicts(record, artifact.sha256) if not conditions.items() <= other.items()
        ]
        document = {"schema": SCHEMA, "model": artifact.sha256, "gates": [*others, verdict | conditions]}
        try:
            with replacing(record) as temporary:
                temporary.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        except StorageError as error:
            reason = reason or str(error).split(";")[0]
            continue
        except OSError as error:
            reason = reason or f"{record}: {error.strerror or error}"
            continue
        return None
    return reason


def _verdicts(record: Path, sha256: str) -> list[dict[str, Any]]:
    """Return the verdicts of the file with this hash; none where the record is missing, damaged or of another file."""
    try:
        document = json.loads(record.read_text())
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(document, dict) or (document.get("schema"), document.get("model")) != (SCHEMA, sha256):
        return []
    gates = document.get("gates")
    return [verdict for verdict in gates if isinstance(verdict, dict)] if isinstance(gates, list) else []


def _conditions(backend: str | None) -> dict[str, Any]:
    """Return the conditions under which a gate verdict stays valid: processor kind, backend and package versions.

    The kernels depend on them.
    """
    packages = ONNX_BACKENDS[backend].packages if backend in ONNX_BACKENDS else ()
    versions = {name: version for name, version in tools(*packages).items() if name != "python"}
    return {"processor_kind": this_kind(), "engine": backend, "versions": versions}


def _record_paths(path: Path, sha256: str) -> list[Path]:
    """Return where the record of a file may lie, the preferred place first."""
    paths = [record_path(path)]
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        # no home
        return paths
    return [*paths, Path(cache) / "reid-edge" / f"{sha256}.gates.json"]


def _note(text: str) -> None:
    print(text, file=sys.stderr)
