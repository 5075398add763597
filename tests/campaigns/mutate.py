"""Damage bytes, JSON-like trees and texts at random. The functions are pure and do not depend on a file format."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

# Every second change is made in the first bytes of a file, because they decide how all others are read.
HEAD = 256
EXTREMES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
)
# Unexpected values. RAW has texts of values that no Python tree can hold (see `json_text`), and ODD has Python values.
RAW = (
    "[" * 50_000,
    '{"a":' * 50_000,
    "9" * 5000,
    "1e999",
    "NaN",
    "-Infinity",
    '"\\ud800"',
    '"\\u0000"',
    "tru",
    "",
)
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 2**31, 2**62, -(2**63), 10**30, 0.5, -2.5, 1e300, "", "x", "1", "1e3", "on",
    "\x1b[31mred\r\n", "\ud800", "%s{}", "../../up", "word " * 300, [], {}, [None], [[]], [1, 2, 3], [-1, "x"], {"a": 1}, {"a": {}},
)  # fmt: skip


def damaged(data: bytes, random: Random) -> bytes:
    """Return `data` after one to three random changes.

    A change flips bits, overwrites bytes, writes an extreme number, removes, repeats, clears or swaps blocks, or cuts or extends
    the end.
    """
    for _ in range(random.choice((1, 1, 2, 3))):
        data = random.choice(_CHANGES)(data, random)
    return data


def _place(data: bytes, random: Random) -> int:
    return random.randrange(max(1, min(len(data), HEAD) if random.random() < 0.5 else len(data)))


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(random.randint(1, 8)):
        changed[_place(changed, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, random: Random) -> bytes:
    at, size = _place(data, random), random.randint(1, 16)
    return data[:at] + random.randbytes(size) + data[at + size :]


def _extreme(data: bytes, random: Random) -> bytes:
    at, size = _place(data, random), random.choice((1, 2, 4, 8))
    number = random.choice(EXTREMES) % 256**size
    return data[:at] + number.to_bytes(size, random.choice(("big", "little"))) + data[at + size :]


def _truncate(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def _extend(data: bytes, random: Random) -> bytes:
    return data + random.choice((bytes(random.randint(1, 999)), random.randbytes(random.randint(1, 99))))


def _block(data: bytes, random: Random) -> tuple[int, int]:
    at = _place(data, random)
    return at, min(len(data), at + random.choice((1, 2, 4, 16, 64, 256)))


def _delete(data: bytes, random: Random) -> bytes:
    start, end = _block(data, random)
    return data[:start] + data[end:]


def _double(data: bytes, random: Random) -> bytes:
    start, end = _block(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 50)) + data[end:]


def _clear(data: bytes, random: Random) -> bytes:
    start, end = _block(data, random)
    return data[:start] + random.choice((b"\0", b"\xff")) * (end - start) + data[end:]


def _swap(data: bytes, random: Random) -> bytes:
    a, b, c = sorted(_place(data, random) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


_CHANGES = (_flip, _flip, _overwrite, _extreme, _extreme, _truncate, _extend, _delete, _double, _clear, _swap)


def tree_damaged(tree: Any, random: Random) -> Any:
    """Return a copy of a JSON-like tree in which one to three values are replaced, removed, multiplied or renamed."""
    holder = {"": copy.deepcopy(tree)}
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        node, key = random.choice(list(_places(holder)))
        change = random.randrange(5)
        if change == 0 and node is not holder:
            del node[key]
        elif change == 1 and isinstance(node, dict) and node is not holder:
            node[random.choice(("x", f"{key}s", str(key).upper(), "", "a.b"))] = node.pop(key)
        elif (
            change == 2
            and isinstance(node[key], list | str | int | float)
            and not isinstance(node[key], bool)
        ):
            node[key] = random.choice((node[key] * 2, node[key] * -1, node[key] * 50_000, [node[key]]))
        else:
            node[key] = copy.deepcopy(random.choice(ODD))
    return holder[""]


def _places(node: Any) -> Any:
    pairs = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
    for key, value in pairs:
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def json_text(tree: Any, random: Random) -> str:
    """Return `tree` as JSON text. In one of four cases, one value is replaced by a text of RAW, which no tree can hold."""
    if random.random() < 0.75:
        return json.dumps(tree)
    holder, mark = {"": copy.deepcopy(tree)}, "@raw@"
    node, key = random.choice(list(_places(holder)))
    node[key] = mark
    return json.dumps(holder[""]).replace(json.dumps(mark), random.choice(RAW))
