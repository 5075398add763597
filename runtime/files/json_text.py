"""Parse JSON text. Damaged text raises a ValueError with a readable reason."""

from __future__ import annotations

import json
import math
from typing import Any


def parse_json(text: str | bytes, *, finite: bool = False) -> Any:
    """Return the value that the JSON `text` describes. Raises ValueError with a readable reason if it is no JSON or nested too deeply.

    With `finite`, ValueError is also raised for NaN and infinity, which Python's parser accepts although JSON does not have them.
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
