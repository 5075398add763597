"""Files of codes: a cache beside each segment file, which is made again when the segment's rows have changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.files.json_text import parse_json
from runtime.files.manifest import replacing
from runtime.gallery.lookup.snapshot import Snapshot

MAGIC = b"reid codes 1\n"


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of a segment, or of its first rows.

    `stamp` is the hash of the rows that have codes, by their slots and the checksums of their features. `slots` (m,) are their slots,
    ascending. `index` is what `runtime.gallery.lookup.faiss` searches: its row i is slot `slots`[i].
    """

    stamp: str
    slots: NDArray[np.int64]
    index: Any


def stamp_of(snapshot: Snapshot, first: int, last: int) -> str:
    """Return the hash of the rows number `first` to `last` - 1 of a snapshot: it changes when one of them does."""
    digest = hashlib.sha256(snapshot.slots[first:last].astype("<i8").tobytes())
    digest.update(snapshot.crcs[first:last].astype("<u4").tobytes())
    return digest.hexdigest()


def write_codes(path: Path, version: str, stamp: str, slots: NDArray[np.int64], data: bytes) -> None:
    """Write a file of codes. `data` are the codes as faiss `version` writes them. Raises StorageError or OSError."""
    content = slots.astype("<i8").tobytes() + data
    head = {
        "faiss": version,
        "stamp": stamp,
        "rows": len(slots),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    with replacing(path) as temporary:
        temporary.write_bytes(MAGIC + json.dumps(head).encode() + b"\n" + content)
    path.chmod(0o600)


def read_codes(path: Path, version: str) -> tuple[str, NDArray[np.int64], bytes] | None:
    """Return (stamp, slots, codes) of a file that `write_codes` wrote with the same faiss `version`.

    None if the file is missing, damaged, or of another version: the codes are then made again.
    """
    try:
        data = path.read_bytes()
        if not data.startswith(MAGIC):
            return None
        line, _, content = data[len(MAGIC) :].partition(b"\n")
        head = parse_json(line)
        if head["sha256"] != hashlib.sha256(content).hexdigest() or head["faiss"] != version:
            return None
        size = 8 * int(head["rows"])
        return str(head["stamp"]), np.frombuffer(content[:size], "<i8").astype(np.int64), content[size:]
    except (OSError, ValueError, KeyError, TypeError):
        return None
