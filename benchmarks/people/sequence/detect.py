"""Write the detections of a rendered sequence again, with other errors: `python -m benchmarks.people.sequence.detect SEQ --out DIR`.

It reads the exact boxes of the sequence. It needs the extra `bench`, with which it checks these files, and no renderer.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.people.sequence.detect"))

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.people.sequence.error_options import add_error_options
from benchmarks.people.sequence.plan import DetectionErrors, frame_time
from runtime.console import note
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from benchmarks.people.sequence.boxes import PersonBox


@dataclass(frozen=True)
class DetectOptions:
    """The command line: the folder of the `sequence`, the `errors` of its detections, and the folder `out` for their files."""

    sequence: Path
    errors: DetectionErrors
    out: Path


def parse(argv: Sequence[str] | None) -> DetectOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.people.sequence.detect", description=main.__doc__
    )
    parser.add_argument("sequence", type=Path, metavar="SEQ", help="folder of the rendered sequence")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="new folder for the detections"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the errors (default: %(default)s)")
    add_error_options(parser)
    args = parser.parse_args(argv)
    errors = DetectionErrors(args.missed, args.shifted, args.false_boxes, args.seed)
    return DetectOptions(args.sequence, errors, args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Write detections with errors, made from the exact boxes of a rendered sequence."""
    return write(parse(argv))


def write(options: DetectOptions) -> int:
    """Write the detections of each camera of a sequence into the new folder `options.out`. Returns exit code 0.

    Raises ConfigError if the sequence is damaged, if the errors are out of range or if the folder is not empty.
    """
    from benchmarks.people.sequence.boxes import (
        ADVICE,
        INDEX,
        read_person_boxes,
        read_sequence,
        write_lines,
    )
    from benchmarks.people.sequence.detections import detections

    options.errors.check()
    document = read_sequence(options.sequence)
    out = options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: not an empty folder; give a new folder")
    size = (document["width"], document["height"])
    made = {}
    for camera in document["cameras"]:
        boxes = read_person_boxes(options.sequence / camera["boxes"])
        if any(not _lies_in(one, camera["frames"], size) for one in boxes):
            raise ConfigError(
                f"{options.sequence / camera['boxes']}: it has boxes outside the frames that {INDEX} describes; {ADVICE}"
            )
        times = [
            frame_time(number, start_time=camera["start_time"], fps=document["fps"])
            for number in range(camera["frames"])
        ]
        made[Path(camera["detections"]).name] = detections(
            boxes, options.errors, camera=camera["camera"], times=times, size=size
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, detected in made.items():
        write_lines(out / name, detected)
        note(f"wrote {out / name}: {len(detected)} boxes")
    return 0


def _lies_in(one: PersonBox, frames: int, size: tuple[int, int]) -> bool:
    x1, y1, x2, y2 = one.box
    return one.frame < frames and 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
