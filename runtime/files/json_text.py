"""Read JSON text that may be damaged. Knows no document."""

from __future__ import annotations

import json
import math
from typing import Any


def parse_json(text: str | bytes, *, finite: bool = False) -> Any:
    """The document in `text`; ValueError, in words, for whatever is wrong with it, also for one nested too deeply.

    With `finite` also for NaN and infinity, which JSON does not know and Python reads.
    """
    more: dict[str, Any] = {"parse_constant": _refuse, "parse_float": _finite} if finite else {}
    try:
        return json.loads(text, **more)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _refuse(text)
