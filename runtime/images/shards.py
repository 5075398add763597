"""Divide the images of an extraction into shards, which several machines extract. Knows nothing of models."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.datasets import Item
from runtime.errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """The shard with the number `index` (from 1) of `count`."""

    index: int
    count: int

    @classmethod
    def from_text(cls, text: str) -> Shard:
        """Return the shard that a text such as "2/4" names. Raises ConfigError for another text."""
        index, slash, count = text.partition("/")
        if slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
            return cls(int(index), int(count))
        raise ConfigError(f"{text!r:.40} is no shard; give i/n with i from 1 to n, such as 2/4")


def in_shard(items: Sequence[Item], root: str, shard: Shard) -> tuple[Item, ...]:
    """Return the images of a shard.

    The path of an image below `root` decides its shard, so that machines which see the same folder under other names, or while images
    are added to it, agree. Every image is in one shard; the shards are of about the same size.
    """
    base = root if os.path.isdir(root) else os.path.dirname(root) or "."

    def number(item: Item) -> int:
        return zlib.crc32(os.fsencode(os.path.relpath(item.path, base))) % shard.count

    return tuple(item for item in items if number(item) == shard.index - 1)
