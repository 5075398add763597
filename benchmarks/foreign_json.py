"""Read JSON that came from another machine, and say where it is not what is expected. Knows no document."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Far from where arithmetic on a few of them could overflow.
MOST = 1e15


class Leaf(NamedTuple):
    """One value: what it has to be in words, and whether it is."""

    words: str
    holds: Callable[[Any], bool]


class Maybe(NamedTuple):
    """A value that may be null; as a member of an object it may be missing too."""

    shape: Any


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MOST


TEXT = Leaf("a text", lambda value: isinstance(value, str))
NUMBER = Leaf("a number", _is_number)
POSITIVE = Leaf("a number above 0", lambda value: _is_number(value) and value > 0)
PART = Leaf("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
COUNT = Leaf(
    "a whole number from 1", lambda value: _is_number(value) and isinstance(value, int) and value >= 1
)
YES_NO = Leaf("true or false", lambda value: isinstance(value, bool))
ANYTHING = Leaf("anything", lambda value: True)


def read_json(path: Path, shape: Any) -> Any:
    """The document at `path`, which fits `shape`; ValueError in words where it does not, OSError where it cannot be read.

    A shape is a Leaf, a Maybe, [shape of every item] or {key: shape of that member}; members that it does not name are free.
    """
    try:
        document = json.loads(path.read_text(), parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if found := misfit(document, shape):
        raise ValueError(found)
    return document


def misfit(value: Any, shape: Any, where: str = "document") -> str | None:
    """`models[0].batch is no whole number from 1`: the first place that does not fit; None where all does."""
    if isinstance(shape, Maybe):
        return None if value is None else misfit(value, shape.shape, where)
    if isinstance(shape, Leaf):
        return None if shape.holds(value) else f"{where} is not {shape.words}"
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return f"{where} is no object"
        members = ((value.get(key), part, f"{where}.{key}") for key, part in shape.items())
        return next(filter(None, (misfit(*member) for member in members)), None)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return f"{where} is no list"
    items = ((item, shape[0], f"{where}[{number}]") for number, item in enumerate(value))
    return next(filter(None, (misfit(*item) for item in items)), None)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:20])
