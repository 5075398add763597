"""Render a multi-camera sequence of synthetic people: four videos with exact boxes, visibility and identities.

It needs the extras `render` and `video`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.people.sequence.error_options import add_error_options
from benchmarks.people.sequence.plan import CAMERAS, DetectionErrors, SequencePlan
from runtime.options.argument_types import fraction, positive_integer, seconds, width_and_height


@dataclass(frozen=True)
class SequenceOptions:
    """The command line: the sequence to render (`plan`), the errors of its detections, its new folder `out`, and `jobs` processes."""

    plan: SequencePlan
    errors: DetectionErrors
    out: Path
    jobs: int


def parse(argv: Sequence[str] | None) -> SequenceOptions:
    """Parse a command line into options."""
    usual = SequencePlan()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.sequence", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="SEQ", help="new folder for the sequence")
    parser.add_argument(
        "--seed", type=int, default=usual.seed, help="seed of all random choices (default: %(default)s)"
    )
    parser.add_argument(
        "--people",
        type=positive_integer,
        default=usual.people,
        help="number of people (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=usual.seconds,
        help="length of each video in seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--fps", type=positive_integer, default=usual.fps, help="frames a second (default: %(default)s)"
    )
    parser.add_argument(
        "--size",
        type=width_and_height,
        default=(usual.width, usual.height),
        metavar="WIDTHxHEIGHT",
        help=f"size of the videos in pixels (default: {usual.width}x{usual.height})",
    )
    parser.add_argument(
        "--lookalikes",
        type=fraction,
        default=usual.lookalikes,
        help="fraction of the people who share most clothes with another person (default: %(default)s)",
    )
    parser.add_argument(
        "--start-time",
        type=float,
        default=usual.start_time,
        metavar="SECONDS",
        help="time of the first frames (default: %(default)s)",
    )
    parser.add_argument(
        "--one-camera",
        type=fraction,
        default=usual.one_camera,
        metavar="FRACTION",
        help="fraction of the people who visit one camera only (default: %(default)s)",
    )
    add_error_options(parser)
    parser.add_argument(
        "--jobs",
        type=positive_integer,
        default=1,
        help="number of processes, of which each renders one camera at a time (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    plan = SequencePlan(
        seed=args.seed,
        people=args.people,
        seconds=args.seconds,
        fps=args.fps,
        width=args.size[0],
        height=args.size[1],
        lookalikes=args.lookalikes,
        start_time=args.start_time,
        one_camera=args.one_camera,
    )
    return SequenceOptions(
        plan, DetectionErrors(args.missed, args.shifted, args.false_boxes, args.seed), args.out, args.jobs
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Render a multi-camera sequence into a new folder. The summary goes to stdout, and the progress to stderr."""
    return render(parse(argv))


def render(options: SequenceOptions) -> int:
    """Render the sequence of `options` into its folder, and print a summary. Returns exit code 0."""
    from benchmarks.people.sequence import writing

    started = time.monotonic()

    def report(cameras: int, boxes: int) -> None:
        passed = time.monotonic() - started
        print(f"{cameras} of {CAMERAS} cameras, {boxes} boxes, {passed:.0f} s", file=sys.stderr)

    meta = writing.write(options.plan, options.errors, options.out, jobs=options.jobs, report=report)
    passed = time.monotonic() - started
    boxes, tracks = (sum(one[key] for one in meta["cameras"]) for key in ("people_boxes", "tracks"))
    size = sum(path.stat().st_size for path in options.out.iterdir()) / 1e6
    print(
        f"{meta['people']} synthetic people, {tracks} tracks, {boxes} boxes in {CAMERAS} videos of {options.plan.frames} frames in "
        f"{options.out}, {size:.1f} MB, {passed:.0f} s"
    )
    return 0
