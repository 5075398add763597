"""Write or check the hashes of a rendered data set: `python -m benchmarks.people.hashes ROOT --write FILE`.

With such a file, a large data set can be rendered again elsewhere and checked, and need not be copied. `--write FILE` writes the plan
of the data set below ROOT and a hash for each identity. `--against FILE` reads all images below ROOT, and fails with exit code 3 if
identities differ from the file.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
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

# The number of hexadecimal digits of an identity's SHA-256 that are kept. They suffice to find a difference, and keep the file short.
DIGITS = 16
RENDERED = members(
    {"kind": TEXT, "generator": NUMBER, "plan": OBJECT, "tools": OBJECT, "images": mapping(IMAGE)}
)
# Person id -> digest.
DIGESTS = {"type": "object", "propertyNames": {"pattern": "^[0-9]+$"}, "additionalProperties": TEXT}
HASH_FILE = members({"identities": DIGESTS})


def identity_digests(images: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return a dictionary that maps each person id to a hash over the names and SHA-256 of the person's images.

    A hash has 16 hexadecimal digits. `images` maps the name of an image to {pid, sha256}, as the key "images" of an anny.json does.
    """
    people: dict[str, list[str]] = {}
    for path in sorted(images):
        people.setdefault(str(images[path]["pid"]), []).append(f"{path} {images[path]['sha256']}\n")
    return {
        pid: hashlib.sha256("".join(lines).encode()).hexdigest()[:DIGITS]
        for pid, lines in sorted(people.items(), key=lambda entry: int(entry[0]))
    }


def differing_identities(actual: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return the person ids, in ascending order, whose hashes differ between `actual` and `expected` or are only in one of them."""
    return sorted(
        (pid for pid in {*actual, *expected} if actual.get(pid) != expected.get(pid)),
        key=lambda pid: int(pid),
    )


def read_rendered(root: Path) -> dict[str, Any]:
    """Return the content of the anny.json in the folder `root`. Raises ConfigError if the file is missing or damaged."""
    return read_index(root, advice="give a folder that benchmarks.people wrote", schema=RENDERED)


def current_hashes(root: Path, images: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return {pid, sha256} for each image in `images`, with the SHA-256 that its file below `root` has now.

    The hash of a missing file is the empty string.
    """

    def file_hash(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    return {path: {"pid": entry["pid"], "sha256": file_hash(root / path)} for path, entry in images.items()}


@dataclass(frozen=True)
class HashOptions:
    """The command line: the folder of the data set, `root`, and the file of hashes to `write` or to check `against`.

    One of `write` and `against` is None.
    """

    root: Path
    write: Path | None
    against: Path | None


def parse(argv: Sequence[str] | None) -> HashOptions:
    """Parse a command line into options, of which either `write` or `against` is given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.hashes", description=main.__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of the rendered data set")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path, metavar="FILE", help="write the hashes to this file")
    action.add_argument("--against", type=Path, metavar="FILE", help="check the images against this file")
    args = parser.parse_args(argv)
    return HashOptions(args.root, args.write, args.against)


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the hashes of a rendered data set."""
    return process(parse(argv))


def process(options: HashOptions) -> int:
    """Write the hashes of the data set in `options.root` to a file, or check them against a file. Returns exit code 0.

    Raises DataError if identities differ from those in the file.
    """
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
        options.against, HASH_FILE, expected="the hashes of a rendered data set", advice=advice
    )["identities"]
    if wrong := differing_identities(digests, expected):
        raise DataError(
            f"{options.root}: {len(wrong)} of {len(expected)} identities differ from {options.against}, for example "
            f"{', '.join(wrong[:5])}; render again with the options under plan and the package versions under tools in that file"
        )
    note(f"{options.root}: all {len(expected)} identities agree with {options.against}")
    return 0
