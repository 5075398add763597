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

    `processor` is the model name of the CPU, and `processor_kind` its architecture and instruction sets, such as "x86_64 avx2 fma".
    `cores` is the number of logical cores. `versions` is {package: version} of the installed packages that run ONNX files.
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
    """Write `document` to the file `choice_path(model)`, and return this path.

    `document` is the `BackendChoice.to_json()` of the result of `runtime.choose_backend`. Raises StorageError when the folder cannot
    be written.
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
            f"backend='auto': no backend passed the quality gate on this machine, as {choice_path(model).name} records; export the "
            f"model again with a higher export_onnx.py --precision, then {_again(model)}"
        )
    return chosen


def unproven(model: Path | str, sha256: str, backend: str | None) -> str | None:
    """Return a warning if `python -m runtime choose` recorded no passed quality gate of the model on `backend` here; else None.

    Without a passed gate, the features may be wrong. A record counts only for the same file, machine and package versions
    (`chosen_backend`).

    The result is always None for a backend that needs no such record. TensorRT and torch need none because they do not run the ONNX
    file. "onnxruntime" needs none because the export runs the gate on it, and `runtime.checks.this_machine` runs the gate again on
    another kind of processor. `backend` None means that the backend is not recorded; then nothing is checked.
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
        raise ArtifactError(
            f"backend='auto': {path} was written by another version of this program; {_again(model)}"
        )
    expected = {"model": sha256} | this_machine()
    for key, here in expected.items():
        if (then := document.get(key)) != here:
            named = (
                "another file of the model"
                if key == "model"
                else f"{key} {_words(then)}, here it is {_words(here)}"
            )
            raise ArtifactError(f"backend='auto': {path.name} was measured with {named}; {_again(model)}")
    return document


def _again(model: Path | str) -> str:
    return f"run: {shlex.join(['python', '-m', 'runtime', 'choose', str(model)])}"


def _words(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {version}" for name, version in sorted(value.items())) or "none"
    return str(value)
