"""`python -m benchmarks.experiments.transfer MODEL --data ROOT`: zero-shot scores on people and cameras unseen in training.

Every image of one camera is a query, and every image of another camera is in the gallery. A second set of scores shows the effect of
subtracting the mean feature of each camera, which needs images of the camera but no labels. MODEL is an ONNX file, an engine, or a
model.safetensors, which runs in torch.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
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
    """The command line: the paths of the `models` to score, and the images to score them on.

    `data` is the folder of the data set, `layout` its layout or None to guess it, and `split` a key of SPLITS. The queries are from
    the camera `query_camera` and the gallery from `gallery_camera` (0-based ids).
    """

    models: tuple[str, ...]
    data: str
    layout: str | None
    split: str
    query_camera: int
    gallery_camera: int
    as_json: bool


def parse(argv: Sequence[str] | None) -> TransferOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.transfer", description=main.__doc__
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="an ONNX file, an engine or a model.safetensors to score"
    )
    parser.add_argument("--data", required=True, metavar="ROOT", help="folder of the data set")
    parser.add_argument(
        "--layout",
        choices=sorted(READERS),
        help="layout of the data set (default: recognised from the folder; the command fails if several layouts fit)",
    )
    parser.add_argument(
        "--split",
        choices=sorted(SPLITS),
        default="all",
        help="the images to use: the training images, those of query and gallery (test), or all (default: %(default)s)",
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
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args(argv)
    cameras = (args.query_camera, args.gallery_camera)
    return TransferOptions(tuple(args.models), args.data, args.layout, args.split, *cameras, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Score each MODEL on unseen people and cameras: the images of one camera are the queries, those of another the gallery."""
    return run(parse(argv))


def run(options: TransferOptions) -> int:
    """Score the models of `options`, and print a table or one JSON document. Returns exit code 0."""
    from benchmarks.experiments import zero_shot

    items = zero_shot.pictures(read_dataset(options.data, options.layout), options.split)
    cameras = {"query": options.query_camera, "gallery": options.gallery_camera}
    rows: list[list[object]] = []
    results: list[dict[str, Any]] = []
    with printed(lambda: {"models": results} if results else None):
        for path in options.models:
            result = zero_shot.transfer(zero_shot.opened(path), items, **cameras)
            if results:
                result["minus_first_95"] = zero_shot.difference(results[0], result)
            results.append({"model": path, "split": options.split} | result)
            for kind in ("plain", "camera_mean_subtracted"):
                rows.append([path, kind.replace("_", " "), *(f"{result[kind][name]:.1%}" for name in SHOWN)])
    if options.as_json:
        print_json({"models": results})
        return 0
    first = results[0]
    note(f"{first['people']} people, {first['queries']} queries, {first['gallery']} gallery images")
    print_table(f"zero-shot, {options.split}", ["model", "features", *SHOWN], rows)
    for result in results[1:]:
        spans = [
            f"{name} {low:+.1%} to {high:+.1%}" for name, (low, high) in result["minus_first_95"].items()
        ]
        note(f"{result['model']} minus {first['model']}, 95 % interval over people: {', '.join(spans)}")
    return 0
