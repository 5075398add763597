"""Images that could not be used, and the file that lists them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.files.json_text import parse_json
from runtime.files.manifest import replacing


@dataclass(frozen=True)
class Skipped:
    """An image that could not be used: its path, why, and the sha256 of its bytes where readable."""

    path: str
    reason: str
    sha256: str | None = None


def write_skipped(out: Path, skipped: Sequence[Skipped]) -> Path | None:
    """List `skipped` in `skipped.jsonl` beside the output `out`; its path, or None when nothing is skipped.

    One JSON object per line: out, path, sha256 (null when unreadable), reason, and path_b64 for a name that
    is not UTF-8. Several outputs share a folder: lines of others stay, lines of an earlier run of this one
    go.
    """
    path = out.parent / "skipped.jsonl"
    lines = _lines_of_others(path, out.name) + [json.dumps(_record(out.name, item)) for item in skipped]
    if lines:
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines))
    else:
        path.unlink(missing_ok=True)
    return path if skipped else None


def _lines_of_others(path: Path, out: str) -> list[str]:
    try:
        lines = path.read_text().splitlines()
        return [line for line in lines if parse_json(line)["out"] != out]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        # Not a list that we wrote: there is nothing in it worth keeping.
        return []


def _record(out: str, skipped: Skipped) -> dict[str, str | None]:
    name = os.fsencode(skipped.path)
    record = {"out": out, "path": skipped.path, "sha256": skipped.sha256, "reason": skipped.reason}
    try:
        name.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(name).decode()
        record |= {"path": name.decode(errors="backslashreplace"), "path_b64": encoded}
    return record
