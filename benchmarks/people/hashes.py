"""A rendered set that is too large to ship, fixed by hashes: `python -m benchmarks.people.hashes ROOT`.

`--write FILE` notes the set's plan and a digest per identity; `--against FILE` reads every picture of ROOT and says
which identities differ from it (exit code 3).
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.errors import command

    raise SystemExit(command("benchmarks.people.hashes"))

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.console import note
from runtime.errors import ConfigError, DataError
from runtime.files.manifest import replacing

# hexadecimal digits kept of an identity's SHA-256: enough to tell sets apart, small enough for 2,400 of them
DIGITS = 16


def digests(images: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Person id -> digest of its pictures' names and hashes, from the `images` of an anny.json."""
    people: dict[str, list[str]] = {}
    for path in sorted(images):
        people.setdefault(str(images[path]["pid"]), []).append(f"{path} {images[path]['sha256']}\n")
    return {
        pid: hashlib.sha256("".join(lines).encode()).hexdigest()[:DIGITS]
        for pid, lines in sorted(people.items(), key=lambda entry: int(entry[0]))
    }


def differing(mine: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """The person ids whose digests differ or that only one side has, in the order of their numbers."""
    return sorted(
        (pid for pid in {*mine, *expected} if mine.get(pid) != expected.get(pid)), key=lambda pid: int(pid)
    )


def described(root: Path) -> dict[str, Any]:
    """The anny.json of a rendered set; ConfigError where there is none."""
    try:
        meta: dict[str, Any] = json.loads((root / "anny.json").read_text())
    except (OSError, ValueError):
        raise ConfigError(
            f"{root}: no readable anny.json; give the folder that benchmarks.people wrote"
        ) from None
    return meta


def pictures(root: Path, images: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """`images` with the hashes of the files as they are now; a missing file has an empty hash."""

    def now(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    return {path: {"pid": entry["pid"], "sha256": now(root / path)} for path, entry in images.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Note or check the hashes of a rendered set."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.hashes", description=main.__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--write", type=Path, metavar="FILE")
    which.add_argument("--against", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    meta = described(args.root)
    found = digests(pictures(args.root, meta["images"]))
    if args.write:
        content = {key: meta[key] for key in ("kind", "generator", "plan", "tools")}
        content |= {"pictures": len(meta["images"]), "identities": found}
        with replacing(args.write) as temporary:
            temporary.write_text(json.dumps(content, indent=0) + "\n")
        note(f"{len(found)} identities, {len(meta['images'])} pictures: {args.write}")
        return 0
    expected = json.loads(args.against.read_text())["identities"]
    if wrong := differing(found, expected):
        raise DataError(
            f"{args.root}: {len(wrong)} of {len(expected)} identities differ from {args.against}, first "
            f"{', '.join(wrong[:5])}; render again with the plan and the tool versions noted there"
        )
    note(f"{args.root}: all {len(expected)} identities are those of {args.against}")
    return 0
