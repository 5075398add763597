"""The file that says which backend is the fastest for a model on this machine: read it, write it. Runs no model."""

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
    """`model.onnx` -> `model.onnx.choice.json`."""
    return Path(f"{model}.choice.json")


def this_machine() -> dict[str, Any]:
    """Return {processor, processor_kind, cores, versions}: what a choice depends on besides the model.

    `versions` are those of the packages that run ONNX files.
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
    """Write the result of `runtime.choose_backend` beside the model, and return its path. Raises StorageError where it cannot."""
    path = choice_path(model)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"schema": SCHEMA} | document, indent=1, sort_keys=True) + "\n")
    return path


def chosen_backend(model: Path | str, sha256: str) -> str:
    """Return the backend that `python -m runtime choose` chose for this very file on this machine.

    ArtifactError in one line when there is no choice, or it was made for another file, machine or version of a backend.
    """
    chosen = _choice(model, sha256).get("chosen")
    if not isinstance(chosen, str):
        raise ArtifactError(
            f"backend='auto': no backend passed the gate here, says {choice_path(model).name}; {_again(model)}"
        )
    return chosen


def unproven(model: Path | str, sha256: str, backend: str | None) -> str | None:
    """Return why features may differ from the torch model's on this backend, as text; None if the file's gate passed here.

    Export ran the gate on the default backend. For the others, the file that `python -m runtime choose` wrote records the
    gate. TensorRT and torch run no ONNX file and have a gate of their own, so the result for them is None.
    """
    if backend not in BACKENDS[1:]:
        return None
    try:
        rows = _choice(model, sha256).get("rows")
    except ArtifactError:
        return f"{model}: no gate was run on backend {backend} here; {_again(model)}"
    row: dict[str, Any] = next((row for row in rows or [] if row.get("engine") == backend), {})
    if row.get("passed") is True:
        return None
    reasons = "; ".join(row.get("failures", [])) or "not measured"
    return f"{model}: passed no gate on backend {backend} here: {reasons}"


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
            named = "another file" if key == "model" else f"{key} {_words(then)}, here {_words(here)}"
            raise ArtifactError(f"backend='auto': {path.name} was measured on {named}; {_again(model)}")
    return document


def _again(model: Path | str) -> str:
    return f"run: {shlex.join(['python', '-m', 'runtime', 'choose', str(model)])}"


def _words(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {version}" for name, version in sorted(value.items())) or "none"
    return str(value)
