"""Names of models and numbers as the cells of a table. Prints nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.options.choices import BACKENDS

DEFAULT = BACKENDS[0]
# Files that more than one engine runs.
CHOOSING = (".onnx", ".safetensors")


def labels(paths: Sequence[str]) -> dict[str, str]:
    """Path -> file name, or the whole path where two files share a name."""
    unique = list(dict.fromkeys(paths))
    names = [os.path.basename(path) for path in unique]
    return {path: name if names.count(name) == 1 else path for path, name in zip(unique, names)}


def number(value: float | None, scale: float = 1) -> str:
    """Three to five digits of value / scale, or "-" for None."""
    if value is None:
        return "-"
    scaled = value / scale
    digits = next((digits for limit, digits in ((10, 3), (100, 2), (1000, 1)) if scaled < limit), 0)
    return f"{scaled:.{digits}f}"


def name_of(model: Mapping[str, Any]) -> str:
    """The path, and the engine where it is not the one that such files run on without being asked."""
    plain = model.get("engine") in (DEFAULT, "torch", None) or not str(model["path"]).endswith(CHOOSING)
    return str(model["path"]) if plain else f"{model['path']}@{model['engine']}"


def interval_text(sure: Mapping[str, float] | None) -> str:
    """`+0.4 (-1.2 .. +2.0)` points of mAP; nothing for the first group."""
    if sure is None:
        return ""
    return f"{100 * sure['difference']:+.1f} ({100 * sure['low']:+.1f} .. {100 * sure['high']:+.1f})"
