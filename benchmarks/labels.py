"""Format names of models and numbers for the cells of a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.options.choices import BACKENDS

DEFAULT = BACKENDS[0]
# Files of these types run on more than one backend.
CHOOSING = (".onnx", ".safetensors")


def labels(paths: Sequence[str]) -> dict[str, str]:
    """Map each path to its file name, or to the whole path if two files share a name."""
    unique = list(dict.fromkeys(paths))
    names = [os.path.basename(path) for path in unique]
    return {path: name if names.count(name) == 1 else path for path, name in zip(unique, names)}


def number(value: float | None, scale: float = 1) -> str:
    """Return `value` / `scale` with about four digits, or "-" for None."""
    if value is None:
        return "-"
    scaled = value / scale
    digits = next((digits for limit, digits in ((10, 3), (100, 2), (1000, 1)) if scaled < limit), 0)
    return f"{scaled:.{digits}f}"


def name_of(model: Mapping[str, Any]) -> str:
    """Return a model's path, followed by @BACKEND if the model ran on another backend than the default one of its file type.

    `model` is an entry of `models` in a JSON document of bench.py.
    """
    plain = model.get("engine") in (DEFAULT, "torch", None) or not str(model["path"]).endswith(CHOOSING)
    return str(model["path"]) if plain else f"{model['path']}@{model['engine']}"


def interval_text(comparison: Mapping[str, float] | None) -> str:
    """Return a difference of scores and its interval in percentage points, such as `+0.4 (-1.2 .. +2.0)`.

    `comparison` is {difference, low, high}: a difference of two scores (0..1) and the ends of its interval. If it is None, the text
    is empty.
    """
    if comparison is None:
        return ""
    low, high = 100 * comparison["low"], 100 * comparison["high"]
    return f"{100 * comparison['difference']:+.1f} ({low:+.1f} .. {high:+.1f})"
