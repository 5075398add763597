"""Put bench.py's runs on several devices side by side.

    python -m benchmarks.bench.merge A.json B.json --out merged.json --picture merged.svg

Takes the documents of bench.py --json from any device: one table, one picture of mAP against latency. Measures nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench.merge.picture import picture
from benchmarks.bench.merge.runs import merge, points, read
from benchmarks.labels import number
from runtime.console import note, print_table
from runtime.files.manifest import replacing
from runtime.options.argument_types import positive_integer

COLUMNS = ("device", "model", "precision", "batch", "p50 ms", "p99 ms", "images/s", "mJ/image", "mAP")


@dataclass(frozen=True)
class MergeOptions:
    """Which documents are merged, where the rows and the picture go, and the batch that the picture shows."""

    documents: tuple[Path, ...]
    out: Path | None
    picture: Path | None
    batch: int


def parse(argv: Sequence[str] | None) -> MergeOptions:
    """The options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench.merge", description=__doc__)
    parser.add_argument("documents", nargs="+", type=Path, metavar="RUN.json", help="of bench.py --json")
    parser.add_argument("--out", type=Path, metavar="FILE", help="all rows as one JSON document")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="mAP against latency")
    parser.add_argument(
        "--batch",
        type=positive_integer,
        default=1,
        metavar="N",
        help="of the picture: images a call (%(default)s)",
    )
    args = parser.parse_args(argv)
    return MergeOptions(tuple(args.documents), args.out, args.picture, args.batch)


def main(argv: Sequence[str] | None = None) -> int:
    """Merge the documents, write what is asked for, print the table. Returns 0; raises a UserError otherwise."""
    return run(parse(argv))


def run(options: MergeOptions) -> int:
    """Write the rows and the picture that the options ask for, and print the table."""
    document = merge([(path, read(path)) for path in options.documents])
    if options.out:
        _write(options.out, json.dumps(document, indent=1, allow_nan=False) + "\n")
    if options.picture:
        shown = points(document, options.batch)
        _write(options.picture, picture(shown, _title(document, options.batch)))
    for text in document["warnings"]:
        note(f"WARNING {text}")
    print_table("bench.py on several devices", COLUMNS, [_shown(row) for row in document["rows"]])
    return 0


def _write(path: Path, text: str) -> None:
    """The whole text, or the file as it was; StorageError where it cannot be written."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def _title(document: Mapping[str, Any], batch: int) -> str:
    # rendered people are never taken for real ones
    made = " of rendered (synthetic) people" if str(document["data"]).startswith("anny") else ""
    images = f"{batch} image{'s' * (batch > 1)} a call"
    return f"{document['data']}{made}; {images}; copies to and from the device included"


def _shown(row: Mapping[str, Any]) -> list[object]:
    return [
        row["device"],
        row["model"],
        row["precision"] or "-",
        row["batch"],
        number(row["latency_ms"]["p50"]),
        number(row["latency_ms"].get("p99")),
        number(row["images_per_s"]),
        number(row["gross_j_per_image"], 0.001),
        "-" if row["mAP"] is None else f"{row['mAP']:.2%}",
    ]
