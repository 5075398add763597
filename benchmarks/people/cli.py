"""Render a data set of synthetic pedestrians: `python -m benchmarks.people --out DIR` (needs the extra `render`)."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.people.plan import Plan
from runtime.options.argument_types import positive_integer


@dataclass(frozen=True)
class PeopleOptions:
    """The command line: the data set to render (`plan`), its new folder `out`, and the number of processes, `jobs`.

    `sheet` is the file for an image that shows the first identities, or None.
    """

    plan: Plan
    out: Path
    jobs: int
    sheet: Path | None


def parse(argv: Sequence[str] | None) -> PeopleOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="new folder for the data set")
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of all random choices (default: %(default)s)"
    )
    parser.add_argument(
        "--train-identities",
        type=int,
        default=60,
        help="number of training identities (default: %(default)s)",
    )
    parser.add_argument(
        "--test-identities", type=int, default=60, help="number of test identities (default: %(default)s)"
    )
    parser.add_argument(
        "--images-per-camera",
        type=int,
        default=4,
        help="number of images of each training identity in each camera (default: %(default)s)",
    )
    parser.add_argument(
        "--gallery-per-camera",
        type=int,
        default=2,
        help="number of gallery images of each test identity in each camera (default: %(default)s)",
    )
    parser.add_argument(
        "--query-cameras",
        type=int,
        default=2,
        help="number of cameras that have a query of each test identity (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs",
        type=positive_integer,
        default=1,
        help="number of processes that render at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--sheet",
        type=Path,
        metavar="FILE.png",
        help="also write an image that shows the first 8 identities, one in each row",
    )
    args = parser.parse_args(argv)
    plan = Plan(
        args.seed,
        args.train_identities,
        args.test_identities,
        args.images_per_camera,
        args.gallery_per_camera,
        args.query_cameras,
    )
    return PeopleOptions(plan, args.out, args.jobs, args.sheet)


def main(argv: Sequence[str] | None = None) -> int:
    """Render a data set of synthetic people into a new folder. The summary goes to stdout, and the progress to stderr."""
    return render(parse(argv))


def render(options: PeopleOptions) -> int:
    """Render the data set of `options` into its folder, and print a summary. Returns exit code 0."""
    from benchmarks.people import dataset

    started = time.monotonic()

    def report(identities: int, images: int) -> None:
        if sys.stderr.isatty():
            rate = images / (time.monotonic() - started)
            print(f"\r{identities} identities, {images} images, {rate:.0f}/s ", end="", file=sys.stderr)

    meta = dataset.write(options.plan, options.out, jobs=options.jobs, report=report)
    seconds = time.monotonic() - started
    paths = list(meta["images"])
    if options.sheet:
        pids = sorted({meta["images"][path]["pid"] for path in paths})[:8]
        sheet = [path for pid in pids for path in [p for p in paths if meta["images"][p]["pid"] == pid][:16]]
        dataset.contact_sheet(options.out, sheet).save(options.sheet)
    print(f"{len(paths)} synthetic images in {options.out}, {seconds:.0f} s, {len(paths) / seconds:.1f}/s")
    return 0
