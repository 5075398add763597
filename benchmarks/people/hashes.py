"""Write or check the hashes of a rendered set that is too large to ship: `python -m benchmarks.people.hashes ROOT`.

`--write FILE` writes the plan of the set and a digest for each identity. `--against FILE` reads every image below ROOT and
names the identities that differ from the file (exit code 3).
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before the other imports, so that they too can be stopped without a traceback.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.people.hashes"))

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.json_files import NUMBER, OBJECT, TEXT, mapping, members, read_document
from benchmarks.people.index import IMAGE, read_index
from runtime.console import note
from runtime.errors import DataError
from runtime.files.manifest import replacing

# The number of hexadecimal digits kept of an identity's SHA-256: enough to tell sets apart, and short for 2,400 identities.
DIGITS = 16
RENDERED = members(
    {"kind": TEXT, "generator": NUMBER, "plan": OBJECT, "tools": OBJECT, "images": mapping(IMAGE)}
)
# Person id -> digest.
DIGESTS = {"type": "object", "propertyNames": {"pattern": "^[0-9]+$"}, "additionalProperties": TEXT}
HASH_FILE = members({"identities": DIGESTS})


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


def read_rendered(root: Path) -> dict[str, Any]:
    """Return the anny.json of a rendered set; raises ConfigError if there is none or it is damaged."""
    return read_index(root, advice="give a folder that benchmarks.people wrote", schema=RENDERED)


def current_hashes(root: Path, images: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return `images` with the current hashes of the files; a missing file has an empty hash."""

    def file_hash(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    return {path: {"pid": entry["pid"], "sha256": file_hash(root / path)} for path, entry in images.items()}


@dataclass(frozen=True)
class HashOptions:
    """The folder of the set, and the file that its hashes are written to or checked against."""

    root: Path
    write: Path | None
    against: Path | None


def parse(argv: Sequence[str] | None) -> HashOptions:
    """Return the options of a command line, with either `write` or `against`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.hashes", description=main.__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of the rendered set")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path, metavar="FILE", help="write the hashes to this file")
    action.add_argument("--against", type=Path, metavar="FILE", help="check the images against this file")
    args = parser.parse_args(argv)
    return HashOptions(args.root, args.write, args.against)


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the hashes of a rendered set."""
    return process(parse(argv))


def process(options: HashOptions) -> int:
    """Write the hashes of the set, or raise DataError if identities differ from those in the file."""
    meta = read_rendered(options.root)
    digests = identity_digests(current_hashes(options.root, meta["images"]))
    if options.write:
        content = {key: meta[key] for key in ("kind", "generator", "plan", "tools")}
        content |= {"pictures": len(meta["images"]), "identities": digests}
        with replacing(options.write) as temporary:
            temporary.write_text(json.dumps(content, indent=0) + "\n")
        note(f"wrote {options.write}: {len(digests)} identities, {len(meta['images'])} images")
        return 0
    assert options.against is not None
    advice = "give a file that --write wrote"
    expected = read_document(
        options.against, HASH_FILE, expected="the hashes of a rendered set", advice=advice
    )["identities"]
    if wrong := differing_identities(digests, expected):
        raise DataError(
            f"{options.root}: {len(wrong)} of {len(expected)} identities differ from {options.against}, for example "
            f"{', '.join(wrong[:5])}; render again with the plan and the tool versions in that file"
        )
    note(f"{options.root}: all {len(expected)} identities agree with {options.against}")
    return 0
