"""`python -m benchmarks.people --out DIR`: render a set of synthetic pedestrians (needs the extra `render`)."""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.errors import command

    raise SystemExit(command("benchmarks.people.__main__"))

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.people import dataset
from runtime.options.argument_types import positive_integer


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train-identities", type=int, default=60)
    parser.add_argument("--test-identities", type=int, default=60)
    parser.add_argument("--images-per-camera", type=int, default=4, help="of a training identity")
    parser.add_argument("--gallery-per-camera", type=int, default=2, help="of a test identity")
    parser.add_argument(
        "--query-cameras", type=int, default=2, help="cameras with a query, of a test identity"
    )
    parser.add_argument("--jobs", type=positive_integer, default=1, help="processes")
    parser.add_argument("--sheet", type=Path, help="also write a PNG to look at: the first 8 identities")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Render and write the set; a summary goes to stdout, progress to stderr."""
    args = _arguments(argv)
    plan = dataset.Plan(
        args.seed,
        args.train_identities,
        args.test_identities,
        args.images_per_camera,
        args.gallery_per_camera,
        args.query_cameras,
    )
    started = time.monotonic()

    def report(identities: int, pictures: int) -> None:
        if sys.stderr.isatty():
            rate = pictures / (time.monotonic() - started)
            print(f"\r{identities} identities, {pictures} pictures, {rate:.0f}/s ", end="", file=sys.stderr)

    meta = dataset.write(plan, args.out, jobs=args.jobs, report=report)
    seconds = time.monotonic() - started
    paths = list(meta["images"])
    if args.sheet:
        chosen = sorted({meta["images"][path]["pid"] for path in paths})[:8]
        for_sheet = [p for pid in chosen for p in [q for q in paths if meta["images"][q]["pid"] == pid][:16]]
        dataset.contact_sheet(args.out, for_sheet).save(args.sheet)
    print(f"{len(paths)} synthetic pictures in {args.out}, {seconds:.0f} s, {len(paths) / seconds:.1f}/s")
    return 0
