"""The images that could not be used, and the file skipped.jsonl, which lists them."""

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
    """An image that could not be used: its path, the reason, and the sha256 of its bytes if they could be read."""

    path: str
    reason: str
    sha256: str | None = None


def write_skipped(out: Path, skipped: Sequence[Skipped]) -> Path | None:
    """Write `skipped` to `skipped.jsonl` beside the output `out` and return its path, or None when nothing was skipped.

    Each line is a JSON object for one image: `out` (the name of the output file), `path`, `sha256` (null if the image file cannot be
    read) and `reason`. If the path is not UTF-8, `path_b64` has its bytes in base64. All outputs in a folder share the file. The lines
    of other outputs stay. Earlier lines of this `out` are always removed, also when nothing was skipped; a file without lines is
    deleted.
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
    """Return the lines of the file that belong to other outputs."""
    try:
        lines = path.read_text().splitlines()
        return [line for line in lines if parse_json(line)["out"] != out]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        # This program did not write the file, so nothing in it needs to be kept.
        return []


def _record(out: str, skipped: Skipped) -> dict[str, str | None]:
    """Return the JSON object of one line."""
    name = os.fsencode(skipped.path)
    record = {"out": out, "path": skipped.path, "sha256": skipped.sha256, "reason": skipped.reason}
    try:
        name.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(name).decode()
        record |= {"path": name.decode(errors="backslashreplace"), "path_b64": encoded}
    return record
