"""What `--resize fast` costs a model in mAP: the file beside the model that says so. Runs no model."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import ArtifactError
from runtime.features import Features
from runtime.files.json_text import parse_json
from runtime.files.manifest import replacing

SCHEMA = 1
KEYS = ("mAP", "R1")


def cost_path(model: Path | str) -> Path:
    """`model.onnx` -> `model.onnx.resize.json`."""
    return Path(f"{model}.resize.json")


def changed(exact: Features, fast: Features) -> int:
    """How many images have other features when resized fast; images of the model's own size have not."""
    places = {path: row for row, path in enumerate(exact.paths)}
    rows = [(places[path], row) for row, path in enumerate(fast.paths) if path in places]
    return sum(not np.array_equal(exact.features[a], fast.features[b]) for a, b in rows)


def difference(exact: dict[str, Any], fast: dict[str, Any]) -> dict[str, float]:
    """What of each score is gained (or, below 0, lost) by the fast resize; scores are 0..1."""
    return {key: fast[key] - exact[key] for key in KEYS}


def write_cost(model: Path | str, document: dict[str, Any]) -> Path:
    """Write what `evaluate --resize fast` measured beside the model; the path written. StorageError when it cannot be."""
    path = cost_path(model)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"schema": SCHEMA} | document, indent=1, sort_keys=True) + "\n")
    return path


def read_cost(model: Path | str, sha256: str) -> dict[str, Any]:
    """What was measured for this very file; ArtifactError in one line when nothing was."""
    path = cost_path(model)
    words = ["python", "-m", "runtime", "evaluate", str(model), "--data", "ROOT", "--resize", "fast"]
    again = f"measure it with: {shlex.join(words)}"
    try:
        document = parse_json(path.read_text(), finite=True)
    except FileNotFoundError:
        raise ArtifactError(f"--resize fast: what it costs {model} in mAP is not known; {again}") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"--resize fast: {path} is unreadable ({error}); {again}") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or document.get("model") != sha256:
        raise ArtifactError(
            f"--resize fast: {path.name} was measured on another file or by another version; {again}"
        )
    return document


def in_words(cost: dict[str, Any]) -> str:
    """The measured difference and what it was measured on, for people."""
    data, lost = cost["data"], cost["difference"]
    return (
        f"--resize fast: mAP {100 * lost['mAP']:+.2f}, R1 {100 * lost['R1']:+.2f} points against exact, measured on "
        f"{data['folder']} ({data['layout']}): {data['queries']} queries, {data['gallery']} gallery images, "
        f"{data['resized']} of them resized; engine {cost['engine']}, OpenCV {cost['opencv']}; other data may differ"
    )
