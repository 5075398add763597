"""Show runs of bench.py on several devices in one table, and optionally in a picture of mAP against latency.

The runs are the files that bench.py --json printed on each device:

    python -m benchmarks.bench.merge A.json B.json --out merged.json --picture merged.svg
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
    """The command line: the `documents` of bench.py to merge, and the files to write.

    The merged rows are written to `out` as JSON. The `picture` is an SVG file that shows the rows with the batch size `batch`. If
    either path is None, that file is not written.
    """

    documents: tuple[Path, ...]
    out: Path | None
    picture: Path | None
    batch: int


def parse(argv: Sequence[str] | None) -> MergeOptions:
    """Parse the arguments of the command line, `argv`, into options. None stands for those of this process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench.merge", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "documents",
        nargs="+",
        type=Path,
        metavar="RUN.json",
        help="a file with the output of bench.py --json",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write all rows of the table to this JSON file"
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.svg", help="draw mAP against latency into this SVG file"
    )
    parser.add_argument(
        "--batch",
        type=positive_integer,
        default=1,
        metavar="N",
        help="the batch size that the picture shows (%(default)s)",
    )
    args = parser.parse_args(argv)
    return MergeOptions(tuple(args.documents), args.out, args.picture, args.batch)


def main(argv: Sequence[str] | None = None) -> int:
    """Merge the documents that the command line names, write the requested files, and print the table.

    Returns 0, or raises a UserError.
    """
    return run(parse(argv))


def run(options: MergeOptions) -> int:
    """Merge the documents of `options`, write the requested files, and print the table. Returns 0, or raises a UserError."""
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
    """Replace the file at `path` in one step. If that fails, an earlier file remains, and StorageError is raised."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def _title(document: Mapping[str, Any], batch: int) -> str:
    # The title says that the people are rendered, so that nobody takes them for real ones.
    synthetic = " of rendered (synthetic) people" if str(document["data"]).startswith("anny") else ""
    images = f"{batch} image{'s' * (batch > 1)} per call"
    return f"{document['data']}{synthetic}; {images}; times include copies to and from the device"


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
