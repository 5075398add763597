"""Read and write `<model>.choice.json`, which records the fastest backend for a model on this machine. Runs no model."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from runtime.errors import ArtifactError
from runtime.files.json_text import parse_json
from runtime.files.manifest import host, replacing, tools
from runtime.options.backends import PACKAGES
from runtime.options.choices import BACKENDS

SCHEMA = 1


def choice_path(model: Path | str) -> Path:
    """Return the path of the file that records a model's fastest backend: `model.onnx` -> `model.onnx.choice.json`."""
    return Path(f"{model}.choice.json")


def this_machine() -> dict[str, Any]:
    """Describe this machine as {processor, processor_kind, cores, versions}; a choice is valid only while these stay the same.

    `versions` are the versions of the installed packages that run ONNX files.
    """
    here = host()
    versions = tools(*PACKAGES)
    return {
        "processor": here["processor"],
        "processor_kind": here["processor_kind"],
        "cores": here["cores"],
        "versions": {name: version for name, version in versions.items() if name != "python"},
    }


def write_choice(model: Path | str, document: dict[str, Any]) -> Path:
    """Write `document`, the result of `runtime.choose_backend`, to `choice_path(model)`, and return this path.

    Raises StorageError when the folder cannot be written.
    """
    path = choice_path(model)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"schema": SCHEMA} | document, indent=1, sort_keys=True) + "\n")
    return path


def chosen_backend(model: Path | str, sha256: str) -> str:
    """Return the backend that `python -m runtime choose` recorded as the fastest for the model on this machine.

    `sha256` is the hash of the model file. Raises ArtifactError if no backend is recorded, or if the record is of another file,
    another machine or other versions of the packages.
    """
    chosen = _choice(model, sha256).get("chosen")
    if not isinstance(chosen, str):
        raise ArtifactError(
            f"backend='auto': {choice_path(model).name} records that no backend passed the gate here; {_again(model)}"
        )
    return chosen


def unproven(model: Path | str, sha256: str, backend: str | None) -> str | None:
    """Return a warning if the model is not known to have passed its quality gate with `backend` on this machine; else None.

    Without a passed gate, the features may be wrong. For the default backend the result is None, because the export ran the gate on
    it. For the other backends that run ONNX files, `python -m runtime choose` runs the gate and records the verdict. For TensorRT
    and torch the result is None, because they do not run the ONNX file.
    """
    if backend not in BACKENDS[1:]:
        return None
    try:
        rows = _choice(model, sha256).get("rows")
    except ArtifactError:
        return f"{model}: the quality gate never ran on backend {backend} here; {_again(model)}"
    row: dict[str, Any] = next((row for row in rows or [] if row.get("engine") == backend), {})
    if row.get("passed") is True:
        return None
    reasons = "; ".join(row.get("failures", [])) or "not measured"
    return f"{model}: did not pass the gate on backend {backend} here: {reasons}; use backend {BACKENDS[0]}"


def _choice(model: Path | str, sha256: str) -> dict[str, Any]:
    path = choice_path(model)
    try:
        document = parse_json(path.read_text(), finite=True)
    except FileNotFoundError:
        raise ArtifactError(f"backend='auto': {path.name} is missing; {_again(model)}") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"backend='auto': {path} is unreadable ({error}); {_again(model)}") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ArtifactError(f"backend='auto': {path} is of another version; {_again(model)}")
    expected = {"model": sha256} | this_machine()
    for key, here in expected.items():
        if (then := document.get(key)) != here:
            named = "another file" if key == "model" else f"{key} {_words(then)}, here it is {_words(here)}"
            raise ArtifactError(f"backend='auto': {path.name} was measured with {named}; {_again(model)}")
    return document


def _again(model: Path | str) -> str:
    return f"run: {shlex.join(['python', '-m', 'runtime', 'choose', str(model)])}"


def _words(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {version}" for name, version in sorted(value.items())) or "none"
    return str(value)
