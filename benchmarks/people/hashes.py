"""Write or check the hashes of a rendered set that is too large to ship: `python -m benchmarks.people.hashes ROOT`.

`--write FILE` writes the plan of the set and a digest for each identity. `--against FILE` reads every image below ROOT and
names the identities that differ from the file (exit code 3).
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before the other imports, so that they too can be stopped without a traceback.
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

# The number of hexadecimal digits kept of an identity's SHA-256: enough to tell sets apart, and short for 2,400 identities.
DIGITS = 16


def identity_digests(images: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return person id -> digest of the names and hashes of the person's images, from the `images` of an anny.json."""
    people: dict[str, list[str]] = {}
    for path in sorted(images):
        people.setdefault(str(images[path]["pid"]), []).append(f"{path} {images[path]['sha256']}\n")
    return {
        pid: hashlib.sha256("".join(lines).encode()).hexdigest()[:DIGITS]
        for pid, lines in sorted(people.items(), key=lambda entry: int(entry[0]))
    }


def differing_identities(actual: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return the person ids whose digests differ or that only one side has, in numerical order."""
    return sorted(
        (pid for pid in {*actual, *expected} if actual.get(pid) != expected.get(pid)),
        key=lambda pid: int(pid),
    )


def read_index(root: Path) -> dict[str, Any]:
    """Read the anny.json of a rendered set; raises ConfigError if there is none."""
    try:
        meta: dict[str, Any] = json.loads((root / "anny.json").read_text())
    except (OSError, ValueError):
        raise ConfigError(
            f"{root}: no readable anny.json; give a folder that benchmarks.people wrote"
        ) from None
    return meta


def current_hashes(root: Path, images: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return `images` with the current hashes of the files; a missing file has an empty hash."""

    def file_hash(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    return {path: {"pid": entry["pid"], "sha256": file_hash(root / path)} for path, entry in images.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the hashes of a rendered set."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.hashes", description=main.__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of the rendered set")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path, metavar="FILE", help="write the hashes to this file")
    action.add_argument("--against", type=Path, metavar="FILE", help="check the images against this file")
    args = parser.parse_args(argv)
    meta = read_index(args.root)
    digests = identity_digests(current_hashes(args.root, meta["images"]))
    if args.write:
        content = {key: meta[key] for key in ("kind", "generator", "plan", "tools")}
        content |= {"pictures": len(meta["images"]), "identities": digests}
        with replacing(args.write) as temporary:
            temporary.write_text(json.dumps(content, indent=0) + "\n")
        note(f"wrote {args.write}: {len(digests)} identities, {len(meta['images'])} images")
        return 0
    expected = json.loads(args.against.read_text())["identities"]
    if wrong := differing_identities(digests, expected):
        raise DataError(
            f"{args.root}: {len(wrong)} of {len(expected)} identities differ from {args.against}, for example "
            f"{', '.join(wrong[:5])}; render again with the plan and the tool versions in that file"
        )
    note(f"{args.root}: all {len(expected)} identities agree with {args.against}")
    return 0
