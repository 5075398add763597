"""`python -m benchmarks.experiments.transfer MODEL --data ROOT`: zero-shot scores on people and cameras unseen in training.

Every image of one camera is a query, and every image of another camera is in the gallery. A second set of scores is for features from
which each camera's mean feature is subtracted; this needs images of the camera but no labels. MODEL is an ONNX file, an engine, or a
model.safetensors, which torch runs.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.experiments.transfer"))

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.experiments.options import SPLITS
from benchmarks.unfinished import printed
from runtime.console import note, print_json, print_table
from runtime.datasets import READERS, read_dataset

SHOWN = ("mAP", "R1", "R5", "R10")


@dataclass(frozen=True)
class TransferOptions:
    """The models to score, the data set and its split, and the cameras (0-based) of the queries and of the gallery."""

    models: tuple[str, ...]
    data: str
    layout: str | None
    split: str
    query_camera: int
    gallery_camera: int
    as_json: bool


def parse(argv: Sequence[str] | None) -> TransferOptions:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.transfer", description=main.__doc__
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", required=True, metavar="ROOT", help="the data set's own folder")
    parser.add_argument("--layout", choices=sorted(READERS))
    parser.add_argument(
        "--split",
        choices=sorted(SPLITS),
        default="all",
        help="whose images: those of train, of query and gallery (test), or all (default: %(default)s)",
    )
    parser.add_argument(
        "--query-camera",
        type=int,
        default=0,
        metavar="ID",
        help="0-based camera id of the queries (default: %(default)s)",
    )
    parser.add_argument(
        "--gallery-camera",
        type=int,
        default=1,
        metavar="ID",
        help="0-based camera id of the gallery (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    cameras = (args.query_camera, args.gallery_camera)
    return TransferOptions(tuple(args.models), args.data, args.layout, args.split, *cameras, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Score MODEL zero-shot, with the images of one camera as queries and those of another as the gallery."""
    return run(parse(argv))


def run(options: TransferOptions) -> int:
    """Score every model, and print the scores."""
    from benchmarks.experiments import zero_shot

    items = zero_shot.pictures(read_dataset(options.data, options.layout), options.split)
    cameras = {"query": options.query_camera, "gallery": options.gallery_camera}
    rows: list[list[object]] = []
    results: list[dict[str, Any]] = []
    with printed(lambda: {"models": results} if results else None):
        for path in options.models:
            result = zero_shot.transfer(zero_shot.opened(path), items, **cameras)
            results.append({"model": path, "split": options.split} | result)
            for kind in ("plain", "camera_mean_subtracted"):
                rows.append([path, kind.replace("_", " "), *(f"{result[kind][name]:.1%}" for name in SHOWN)])
    if options.as_json:
        print_json({"models": results})
        return 0
    first = results[0]
    note(f"{first['people']} people, {first['queries']} queries, {first['gallery']} gallery images")
    print_table(f"zero-shot, {options.split}", ["model", "features", *SHOWN], rows)
    return 0
