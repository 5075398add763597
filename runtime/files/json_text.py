"""Parse JSON text that may be damaged."""

from __future__ import annotations

import json
import math
from typing import Any


def parse_json(text: str | bytes, *, finite: bool = False) -> Any:
    """Return the document in `text`. Raises ValueError with a readable reason if it is not JSON or is nested too deeply.

    With `finite`, it is also raised for NaN and infinity, which Python's parser accepts although JSON does not have them.
    """
    hooks: dict[str, Any] = {"parse_constant": _refuse, "parse_float": _finite} if finite else {}
    try:
        return json.loads(text, **hooks)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _refuse(text)
